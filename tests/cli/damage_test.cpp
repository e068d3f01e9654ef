// Random cuts and flips of a model's files, the same ones in every run: the command may work or say
// in one line what is wrong, but never crashes, hangs, leaves something behind or asks for memory
// by a number out of the file.
//
// Memory: the least limit of the address space (RLIMIT_AS) under which a command works on the sound
// model is found by bisection. On a damaged model it gets 16 times the file's size and 64 MiB more,
// and must not fail for want of memory. The limit counts what is reserved, touched or not, which is
// stricter than a resident set. `run` is given -c: without it a cache is reserved (not touched) for
// as many positions as the file says the model is made for, which is meant.
#include <random>

#include "cli/expect_failure.h"
#include "core/temporary_folder.h"

namespace nibble::testing {
namespace {

namespace fs = std::filesystem;
constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

class Damage : public ::testing::Test {
 protected:
  /// The commands that are run on the damaged model.
  std::vector<std::vector<std::string>> commands(const std::string& model) const {
    return {{"run", model, "Once upon", "-n", "2", "-c", "16", "--threads", "1", "-q"},
            {"tokenize", model, "Once upon", "-q"},
            {"quantize", model, "-o", (outputs_ / "out").string(), "--threads", "1", "-q"},
            {"inspect", model, "-q"}};
  }

  Outcome limited(const std::vector<std::string>& args, std::uint64_t memory) const {
    fs::remove_all(outputs_);  // of the run before, which may have died for want of memory
    fs::create_directory(outputs_);
    Invocation run;
    run.args = args;
    run.memory = memory;
    return run_command(run);
  }

  std::uint64_t least_memory(const std::vector<std::string>& args) const {
    std::uint64_t too_little = 1 * kMiB;
    std::uint64_t enough = 4096 * kMiB;
    while (enough - too_little > kMiB) {
      const std::uint64_t middle = (too_little + enough) / 2;
      (limited(args, middle).status == 0 ? enough : too_little) = middle;
    }
    return enough;
  }

  void check(const std::vector<std::string>& args, std::uint64_t memory) const {
    const Outcome outcome = limited(args, memory);
    EXPECT_FALSE(outcome.timed_out);
    EXPECT_EQ(outcome.signal, 0) << outcome.err;
    EXPECT_THAT(outcome.err, ::testing::Not(::testing::HasSubstr("memory")));
    if (outcome.status == 0) {
      EXPECT_EQ(outcome.err, "");
    } else {
      expect_failure(outcome, 1, {});
    }
    for (const std::string& name : listing(outputs_)) {
      EXPECT_EQ(name.find(".partial-"), std::string::npos) << name;
    }
  }

  /// Runs `commands` on the model with `file`, which is whole now, damaged in `count` ways by
  /// `damage`.
  template <typename Damaged>
  void run_on(const std::string& model, const fs::path& file, int count, Damaged damage) {
    const std::string whole = read_file(file);
    for (const std::vector<std::string>& args : commands(model)) {
      const std::uint64_t memory = least_memory(args) + 16 * whole.size() + 64 * kMiB;
      std::mt19937 random(7);
      for (int i = 0; i < count; ++i) {
        SCOPED_TRACE(args[0] + ", damage " + std::to_string(i));
        write_file(file, damage(whole, random));
        check(args, memory);
        if (HasFailure()) return;  // the rest would say the same
      }
      write_file(file, whole);
    }
  }

  static std::string cut(const std::string& whole, std::mt19937& random) {
    return whole.substr(0, random() % whole.size());
  }
  /// One to three bytes changed, in the first `reach` bytes half of the time: that is where numbers
  /// are that matter.
  static auto flip(std::size_t reach) {
    return [reach](const std::string& whole, std::mt19937& random) {
      std::string damaged = whole;
      const std::size_t end = random() % 2 == 0 ? std::min(reach, whole.size()) : whole.size();
      const auto changes = 1 + random() % 3;
      for (std::size_t i = 0; i < changes; ++i) {
        damaged[random() % end] = static_cast<char>(random());
      }
      return damaged;
    };
  }

  const TemporaryFolder folder_;
  const fs::path outputs_ = folder_ / "outputs";
};

TEST_F(Damage, CutGguf) {
  const fs::path file = folder_ / "model.gguf";
  fs::copy(fixture("tiny.gguf"), file);
  run_on(file.string(), file, 200, cut);
}

TEST_F(Damage, FlippedGguf) {
  const fs::path file = folder_ / "model.gguf";
  fs::copy(fixture("tiny.gguf"), file);
  run_on(file.string(), file, 200, flip(12000));  // metadata and tensor infos
}

TEST_F(Damage, Safetensors) {
  const fs::path model = copy_stories(folder_ / "model");
  run_on(model.string(), model / "model.safetensors", 60, cut);
  run_on(model.string(), model / "model.safetensors", 60, flip(5000));  // the header
}

TEST_F(Damage, Config) {
  const fs::path model = copy_stories(folder_ / "model");
  run_on(model.string(), model / "config.json", 30, cut);
  run_on(model.string(), model / "config.json", 60, flip(1000));
  run_on(model.string(), model / "tokenizer_config.json", 30, flip(1000));
}

TEST_F(Damage, TokenizerModel) {
  const fs::path model = copy_stories(folder_ / "model");
  run_on(model.string(), model / "tokenizer.model", 30, cut);
  run_on(model.string(), model / "tokenizer.model", 60, flip(8000));
}

}  // namespace
}  // namespace nibble::testing
