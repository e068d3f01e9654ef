// Ctrl-C ends any command within a second, with exit status 130 and nothing half-written. The model
// is made large enough that no command is done before it is interrupted.
#include <chrono>
#include <csignal>

#include "cli/expect_failure.h"
#include "core/temporary_folder.h"

namespace nibble::testing {
namespace {

namespace fs = std::filesystem;

/// A file or folder that is being written.
bool has_partial_output(const fs::path& folder) {
  for (const std::string& name : listing(folder)) {
    if (name.find(".partial-") != std::string::npos) return true;
  }
  return false;
}

class Interrupt : public ::testing::TestWithParam<const char*> {
 protected:
  static void SetUpTestSuite() {
    models_ = new TemporaryFolder();
    const fs::path tiny = copy_stories(*models_ / "tiny");
    nlohmann::json config = nlohmann::json::parse(read_file(tiny / "config.json"));
    config.update({{"hidden_size", 1024},
                   {"intermediate_size", 4096},
                   {"num_hidden_layers", 8},
                   {"max_position_embeddings", 8192}});
    write_file(tiny / "config.json", config.dump());
    expect_success(nibble({"init", tiny.string(), "-o", model(), "--precision", "bf16", "-q"}));
    std::string text = read_file(stories_text());
    while (text.size() < (std::size_t{4} << 20)) text += text;
    write_file(*models_ / "text", text);
  }
  static void TearDownTestSuite() { delete models_; }
  static std::string model() { return (*models_ / "model").string(); }
  static std::string text() { return (*models_ / "text").string(); }

  void expect_interrupted(const std::vector<std::string>& args,
                          const std::function<bool()>& interrupt_when, bool input_open = false) {
    SCOPED_TRACE(::testing::PrintToString(args));
    Invocation run;
    run.args = args;
    if (*GetParam() != '\0') run.env = {{"NIBBLE_ISA", GetParam()}};
    run.folder = folder_.path();
    run.keep_input_open = input_open;
    run.interrupt_when = interrupt_when;
    const Outcome outcome = run_command(run);
    EXPECT_EQ(outcome.status, 130) << outcome.err;
    EXPECT_LT(outcome.seconds, 1.0);
    EXPECT_EQ(outcome.err, "");
    EXPECT_EQ(listing(folder_.path()), std::vector<std::string>{});
  }

  /// True from `delay` seconds after the first call on.
  static std::function<bool()> after(double delay) {
    using Clock = std::chrono::steady_clock;
    return [start = Clock::now(), delay] {
      return std::chrono::duration<double>(Clock::now() - start).count() > delay;
    };
  }

  const TemporaryFolder folder_;
  static TemporaryFolder* models_;
};
TemporaryFolder* Interrupt::models_ = nullptr;

TEST_P(Interrupt, WhileAFolderIsWritten) {
  const auto writing = [this] { return has_partial_output(folder_.path()); };
  expect_interrupted({"quantize", model(), "-o", "out", "--threads", "1"}, writing);
  expect_interrupted({"init", model(), "-o", "out", "--precision", "bf16"}, writing);
}

TEST_P(Interrupt, BySigtermOrAClosedTerminalToo) {
  for (const int signal : {SIGTERM, SIGHUP}) {
    Invocation run;
    run.args = {"quantize", model(), "-o", "out", "--threads", "1"};
    run.folder = folder_.path();
    run.interrupt_when = [this] { return has_partial_output(folder_.path()); };
    run.interrupt_signal = signal;
    EXPECT_EQ(run_command(run).status, 128 + signal);
    EXPECT_EQ(listing(folder_.path()), std::vector<std::string>{});
  }
}

TEST_P(Interrupt, WhileComputing) {
  std::string tokens = "1";
  for (int i = 0; i < 8000; ++i) tokens += ",5";
  const std::vector<std::vector<std::string>> commands = {
      {"run", model(), "Once", "-n", "100000000", "--ignore-eos", "-c", "100000000", "-q"},
      {"run", model(), "-f", text(), "-c", "100000000", "-q"},
      {"logits", model(), "--tokens", tokens, "-o", "l.npy"},
      {"eval", model(), "--text", text()},
      {"bench", model(), "-n", "100000", "-c", "1000000", "-q"},
      {"info", "--measure"}};
  for (const std::vector<std::string>& args : commands) expect_interrupted(args, after(0.3));
}

TEST_P(Interrupt, WhileWaitingForInput) {
  expect_interrupted({"tokenize", model(), "-"}, after(0.2), true);
  expect_interrupted({"run", model(), "-"}, after(0.2), true);
}

// "": the fastest kernels that this machine runs.
INSTANTIATE_TEST_SUITE_P(Kernels, Interrupt, ::testing::Values("scalar", ""), [](const auto& test) {
  return std::string(*test.param == '\0' ? "fastest" : test.param);
});

}  // namespace
}  // namespace nibble::testing
