#include "nibble/quant/cost.h"

#include <gtest/gtest.h>

#include <cmath>

#include "nibble/core/process.h"
#include "nibble/kernels/select.h"
#include "paths.h"

namespace nibble {
namespace {

QuantizeCost cost_of(std::unique_ptr<Rounder> rounder, const CalibrationSize& size,
                     const QuantizeOptions& options = {}) {
  const Checkpoint checkpoint(testing::data_file("stories260K"));
  const QuantizePlan plan = plan_quantization(checkpoint.spec(), options);
  ThreadPool pool(2);
  Compute compute(select_kernels(), pool);
  const QuantizeJob job{.checkpoint = checkpoint,
                        .plan = plan,
                        .method = {.blocks = {.rounder = std::move(rounder)}},
                        .calibration = {},
                        .to = {}};
  return estimate_cost(job, size, compute);
}

TEST(QuantizeCost, OfEveryRounder) {
  const auto check = [](std::unique_ptr<Rounder> rounder) {
    const QuantizeCost cost = cost_of(std::move(rounder), {2, 16});
    EXPECT_TRUE(std::isfinite(cost.seconds));
    EXPECT_GT(cost.seconds, 0);
    EXPECT_GT(cost.memory_bytes, 1 << 20);
    EXPECT_TRUE(cost.is_all);
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
  EXPECT_GT(many.memory_bytes, 200'000LL * 64 * 64 * 2) << "states of 64 in two bytes each";
  EXPECT_LT(many.memory_bytes, 200'000LL * 64 * 64 * 3);
  EXPECT_LT(few.memory_bytes, peak_rss_bytes() + (64 << 20)) << "what the process has counts";
}

TEST(QuantizeCost, OfNothingIsNone) {
  EXPECT_EQ(cost_of(make_per_group_rounder(), {1, 1}, {.exclude = {"*"}}).seconds, 0);
}

}  // namespace
}  // namespace nibble
