#include "nibble/quant/cost.h"

#include <gtest/gtest.h>

#include <cmath>

#include "nibble/core/process.h"
#include "nibble/kernels/select.h"
#include "nibble/quant/transforms/awq.h"
#include "paths.h"

namespace nibble {
namespace {

QuantizeCost cost_of(const QuantizeMethod& method, const CalibrationSize& size,
                     const QuantizeOptions& options = {}, std::int64_t max_memory = 0) {
  const Checkpoint checkpoint(testing::data_file("stories260K"));
  const QuantizePlan plan = plan_quantization(checkpoint.spec(), options);
  ThreadPool pool(2);
  Compute compute(select_kernels(), pool);
  const QuantizeJob job{.checkpoint = checkpoint,
                        .plan = plan,
                        .method = method,
                        .calibration = {},
                        .to = {},
                        .max_memory = max_memory};
  return estimate_cost(job, size, compute);
}

QuantizeCost cost_of(std::unique_ptr<Rounder> rounder, const CalibrationSize& size,
                     const QuantizeOptions& options = {}, std::int64_t max_memory = 0) {
  return cost_of(QuantizeMethod{.blocks = {.rounder = std::move(rounder)}}, size, options,
                 max_memory);
}

TEST(QuantizeCost, OfEveryRounder) {
  const auto check = [](std::unique_ptr<Rounder> rounder) {
    const QuantizeCost cost = cost_of(std::move(rounder), {2, 16});
    EXPECT_TRUE(std::isfinite(cost.seconds));
    EXPECT_GT(cost.seconds, 0);
    EXPECT_GT(cost.memory_bytes, 1 << 20);
  };
  check(make_per_group_rounder());
  check(make_gptq_rounder());
  check(make_best_rounder({}));
  check(make_best_rounder({.compensates = false}));
}

TEST(QuantizeCost, GrowsWithCalibration) {
  const QuantizeCost few = cost_of(make_gptq_rounder(), {2, 64});
  const QuantizeCost many = cost_of(make_gptq_rounder(), {200'000, 64});
  EXPECT_GT(many.seconds, few.seconds);
  const std::int64_t all = many.memory_bytes + many.spilled_bytes;
  EXPECT_GT(all, 200'000LL * 64 * (64 + 192) * 2) << "states of 64, inputs of 192, in two bytes";
  EXPECT_LT(all, 200'000LL * 64 * (64 + 192) * 3);
  EXPECT_LT(few.memory_bytes, peak_rss_bytes() + (64 << 20)) << "what the process has counts";
}

TEST(QuantizeCost, ActivationsBeyondTheLimitGoToAFile) {
  const std::int64_t all = cost_of(make_gptq_rounder(), {2, 64}).memory_bytes;
  const QuantizeCost limited = cost_of(make_gptq_rounder(), {200'000, 64}, {}, 1);
  EXPECT_EQ(limited.spilled_bytes, 200'000LL * 64 * (64 + 192) * 2);
  EXPECT_LT(limited.memory_bytes, all + (16 << 20));
}

TEST(QuantizeCost, OfTransformsAndLearningCounts) {
  const auto cost = [](const QuantizeMethod& method) {
    const QuantizeCost found = cost_of(method, {1000, 64});
    EXPECT_TRUE(std::isfinite(found.seconds));
    return found;
  };
  QuantizeMethod method{
      .blocks = {.rounder = make_per_group_rounder(), .activations = ActivationType::kF32}};
  const QuantizeCost plain = cost(method);
  method.blocks.transforms = {make_awq({}, std::make_shared<AwqSearch>())};
  EXPECT_GT(cost(method).seconds, 10 * plain.seconds);
  EXPECT_GT(cost(method).memory_bytes, plain.memory_bytes);
  method.blocks.transforms.clear();
  method.distillation = DistillationOptions{};
  EXPECT_GT(cost(method).seconds, 10 * plain.seconds);
}

TEST(QuantizeCost, OfNothingIsNone) {
  EXPECT_EQ(cost_of(make_per_group_rounder(), {1, 1}, {.exclude = {"*"}}).seconds, 0);
}

}  // namespace
}  // namespace nibble
