// Calibrated runs that are killed and go on: from the last block that was finished, to the same
// bytes.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <random>

#include "core/error_matchers.h"
#include "core/leave_behind.h"
#include "core/temporary_folder.h"
#include "nibble/core/stopwatch.h"
#include "nibble/kernels/select.h"
#include "nibble/quant/pipeline.h"
#include "nibble/quant/transforms/awq.h"
#include "quant/stories.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using ::nibble::testing::read_file;
using ::testing::HasSubstr;

constexpr int kGroups = 21;  // of layers that share an input: four of each of 5 blocks, the head

/// `best`, which counts the groups of layers that it rounds, and dies before one of them.
class Mortal : public Rounder {
 public:
  explicit Mortal(int dies_at = -1) : dies_at_(dies_at), best_(make_best()) {}
  InputNeeds needs() const override { return best_->needs(); }
  std::unique_ptr<RowRounder> prepare(Compute& compute, InputStatistics statistics) const override {
    if (groups++ == dies_at_) testing::die();
    return best_->prepare(compute, std::move(statistics));
  }
  mutable int groups = 0;

 private:
  static std::unique_ptr<Rounder> make_best() {
    BestOptions options;
    options.refinements = 1;
    return make_best_rounder(options);
  }

  int dies_at_;
  std::unique_ptr<Rounder> best_;
};

/// AWQ, per group or under `best`.
QuantizeMethod resumed_awq(std::shared_ptr<const Rounder> rounder) {
  return {.algorithm = "awq",
          .blocks = {.transforms = {make_awq({}, std::make_shared<AwqSearch>())},
                     .rounder = std::move(rounder),
                     .activations = ActivationType::kF32}};
}

QuantizeMethod resumed_best(std::shared_ptr<const Rounder> rounder) {
  return {.algorithm = "best", .blocks = {.rounder = std::move(rounder)}};
}

QuantizeMethod resumed_learning(std::shared_ptr<const Rounder> rounder) {
  QuantizeMethod method = resumed_best(std::move(rounder));
  method.distillation = DistillationOptions{.batch = 4};
  return method;
}

class ResumeSlow : public ::testing::Test {
 protected:
  /// Goes on with what was left.
  static QuantizeReport run(const fs::path& out, const QuantizeMethod& method,
                            const fs::path& model = kStories,
                            const std::string& recipe = "a test's") {
    const Checkpoint checkpoint(model);
    ThreadPool pool(2);
    Compute compute(select_kernels(), pool);
    const QuantizePlan plan =
        plan_quantization(checkpoint.spec(), {.group_size = 32, .quantize_head = true});
    return quantize_model({.checkpoint = checkpoint,
                           .plan = plan,
                           .method = method,
                           .calibration = testing::story_blocks(0, 16, 128),
                           .to = {.path = out, .resumption = {.resume = true}},
                           .recipe = recipe},
                          compute);
  }

  /// The same, and a kill from outside.
  static void run_and_kill(const fs::path& out, const QuantizeMethod& method, double seconds) {
    const pid_t child = ::fork();
    if (child == 0) {
      run(out, method);
      ::_exit(0);
    }
    ::usleep(static_cast<unsigned>(seconds * 1e6));
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
  }

  void expect_same_files(const fs::path& out, const fs::path& expected) const {
    for (const auto& entry : fs::directory_iterator(expected)) {
      EXPECT_TRUE(read_file(out / entry.path().filename()) == read_file(entry.path()))
          << entry.path();
    }
  }

  void kill_at_random(const QuantizeMethod& method) const {
    const Stopwatch stopwatch;
    const QuantizeReport expected = run(folder_ / "whole", method);
    const double seconds = stopwatch.seconds();
    std::minstd_rand random(std::random_device{}());
    const fs::path out = folder_ / "out";
    for (int i = 0; i < 3 && !fs::exists(out); ++i) {
      const double share = std::uniform_real_distribution<>(0.05, 0.95)(random);
      run_and_kill(out, method, share * seconds);
    }
    if (!fs::exists(out)) {
      const QuantizeReport report = run(out, method);
      EXPECT_EQ(note_of(report.tensors), note_of(expected.tensors));
      EXPECT_EQ(report.bytes_in, expected.bytes_in);
      EXPECT_EQ(report.bytes_out, expected.bytes_out);
    }
    expect_same_files(out, folder_ / "whole");
    EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), {}), 2);
  }

  const testing::TemporaryFolder folder_;
};

TEST_F(ResumeSlow, GoesOnFromTheLastBlockThatWasFinished) {
  for (const bool scales : {false, true}) {
    const auto make = [&](std::shared_ptr<const Rounder> rounder) {
      return scales ? resumed_awq(std::move(rounder)) : resumed_best(std::move(rounder));
    };
    const fs::path folder = folder_ / (scales ? "awq" : "best");
    fs::create_directory(folder);
    const auto whole = std::make_shared<Mortal>();
    const QuantizeReport expected = run(folder / "whole", make(whole));
    ASSERT_EQ(whole->groups, kGroups);
    for (const int dies_at : {0, 3, 4, 11, 20}) {
      const fs::path out = folder / std::to_string(dies_at);
      testing::leave_behind([&] { run(out, make(std::make_shared<Mortal>(dies_at))); });
      ASSERT_FALSE(fs::exists(out));
      const auto rest = std::make_shared<Mortal>();
      const QuantizeReport report = run(out, make(rest));
      EXPECT_EQ(rest->groups, kGroups - dies_at / 4 * 4);
      expect_same_files(out, folder / "whole");
      EXPECT_EQ(note_of(report.tensors), note_of(expected.tensors));
      EXPECT_EQ(report.bytes_in, expected.bytes_in);
    }
  }
}

TEST_F(ResumeSlow, AwqIsKilledAtRandom) {
  kill_at_random(resumed_awq(make_per_group_rounder()));
}

TEST_F(ResumeSlow, BestIsKilledAtRandom) {
  kill_at_random(resumed_best(make_best_rounder({})));
}

TEST_F(ResumeSlow, LearningIsKilledAtRandom) {
  kill_at_random(resumed_learning(make_best_rounder({.refinements = 1})));
}

TEST_F(ResumeSlow, AnotherRunIsNotGoneOnWith) {
  const fs::path model = folder_ / "model";
  fs::copy(kStories, model);
  const fs::path out = folder_ / "out";
  testing::leave_behind([&] { run(out, resumed_best(std::make_shared<Mortal>(9)), model); });
  EXPECT_ERROR(run(out, resumed_best(make_best_rounder({})), model, "another's"),
               HasSubstr("other options"));
  EXPECT_ERROR(run(out, resumed_awq(make_per_group_rounder()), model), HasSubstr("other options"));
  EXPECT_ERROR(run(out, resumed_best(make_best_rounder({}))),
               HasSubstr("other options"));  // source
  run(out, resumed_best(std::make_shared<Mortal>()), model);
}

}  // namespace
}  // namespace nibble
