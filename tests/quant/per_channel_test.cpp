#include "nibble/quant/per_channel.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace nibble {
namespace {

struct Rounded {
  std::vector<std::int8_t> q;
  float scale;
  RoundingError error;
};

Rounded round_row(const std::vector<float>& weights) {
  Rounded out{.q = std::vector<std::int8_t>(weights.size()), .scale = 0, .error = {}};
  out.scale = round_channel(weights, out.q, out.error);
  return out;
}

TEST(PerChannel, RoundsHalfToEven) {
  const Rounded row = round_row({127, 0.5F, 1.5F, 2.5F, -0.5F, -1.5F, -127, 0});
  EXPECT_EQ(row.scale, 1);
  EXPECT_EQ(row.q, (std::vector<std::int8_t>{127, 0, 2, 2, 0, -2, -127, 0}));
  EXPECT_EQ(row.error.squared_error, 5 * 0.25);
  EXPECT_EQ(row.error.squared_weight, 2 * 127.0 * 127 + 2 * 0.25 + 2 * 2.25 + 6.25);
}

TEST(PerChannel, FollowsTheFormula) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0, 0.02F);
  for (int repetition = 0; repetition < 50; ++repetition) {
    std::vector<float> weights(1 + static_cast<std::size_t>(repetition));
    for (float& weight : weights) weight = normal(random);
    const Rounded row = round_row(weights);
    float largest = 0;
    for (const float weight : weights) largest = std::max(largest, std::abs(weight));
    EXPECT_EQ(row.scale, largest / 127);
    for (std::size_t i = 0; i < weights.size(); ++i) {
      EXPECT_EQ(row.q[i], std::nearbyint(weights[i] / row.scale));
    }
  }
}

TEST(PerChannel, RowsOfZerosAndSmallNumbers) {
  const Rounded zeros = round_row({0, 0, -0.0F});
  EXPECT_EQ(zeros.scale, 1e-5F / 127);
  EXPECT_EQ(zeros.q, (std::vector<std::int8_t>{0, 0, 0}));
  EXPECT_EQ(zeros.error.relative(), 0);
  EXPECT_EQ(round_row({1e-6F, -1e-7F}).q, (std::vector<std::int8_t>{13, -1}));  // 12.7 and -1.27
}

TEST(PerChannel, SaysWhatIsNotFinite) {
  for (const float bad : {std::numeric_limits<float>::infinity(), std::nanf("")}) {
    EXPECT_FALSE(round_row({1, bad, 2}).error.finite);
  }
  EXPECT_TRUE(round_row({3e38F, -3e38F}).error.finite);
}

}  // namespace
}  // namespace nibble
