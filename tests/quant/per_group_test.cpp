#include "nibble/quant/per_group.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "nibble/formats/npy.h"
#include "quant/fixtures.h"

namespace nibble {
namespace {

constexpr std::size_t kSize = 32;

class PerGroup : public ::testing::TestWithParam<int> {};

TEST_P(PerGroup, IsTheDefinitionBitForBit) {
  const std::string prefix = kFixtures + "groups_w" + std::to_string(GetParam());
  const std::vector<float> weights = NpyFile(kFixtures + "groups.npy").floats();
  const std::vector<std::uint8_t> q = NpyFile(prefix + "_q.npy").bytes();
  const std::vector<std::uint8_t> zeros = NpyFile(prefix + "_zero.npy").bytes();
  const std::vector<float> scales = NpyFile(prefix + "_scale.npy").floats();
  ASSERT_EQ(weights.size(), zeros.size() * kSize);
  for (std::size_t group = 0; group < zeros.size(); ++group) {
    SCOPED_TRACE(group);
    std::vector<std::uint8_t> found(kSize);
    RoundingError error;
    const GroupParameters parameters =
        round_group(std::span(weights).subspan(group * kSize, kSize), GetParam(), found, error);
    EXPECT_EQ(to_float(parameters.scale), scales[group]);
    EXPECT_EQ(parameters.zero, zeros[group]);
    const auto begin = q.begin() + static_cast<std::ptrdiff_t>(group * kSize);
    EXPECT_EQ(found, std::vector<std::uint8_t>(begin, begin + kSize));
    EXPECT_TRUE(error.finite);
  }
}

INSTANTIATE_TEST_SUITE_P(Bits, PerGroup, ::testing::Values(4, 3));

RoundingError round_groups(const std::vector<float>& weights, int bits = 4) {
  std::vector<std::uint8_t> q(weights.size());
  RoundingError error;
  round_group(weights, bits, q, error);
  return error;
}

TEST(RoundingErrors, AreThoseOfTheRoundedWeights) {
  std::vector<float> weights(32);
  for (std::size_t i = 0; i < 32; ++i) weights[i] = static_cast<float>(i) - 15.0f;
  std::vector<std::uint8_t> q(32);
  RoundingError error;
  const GroupParameters parameters = round_group(weights, 4, q, error);
  double squared_error = 0;
  double squared_weight = 0;
  for (std::size_t i = 0; i < 32; ++i) {
    const double rounded =
        (static_cast<double>(q[i]) - parameters.zero) * to_float(parameters.scale);
    squared_error += (rounded - weights[i]) * (rounded - weights[i]);
    squared_weight += static_cast<double>(weights[i]) * weights[i];
  }
  EXPECT_DOUBLE_EQ(error.squared_error, squared_error);
  EXPECT_DOUBLE_EQ(error.squared_weight, squared_weight);
  EXPECT_DOUBLE_EQ(error.relative(), std::sqrt(squared_error / squared_weight));
  EXPECT_EQ(error.clipped_groups, 0);
}

TEST(RoundingErrors, AreFiniteForWeightsWhoseSquaresAreNotInFloat32) {
  std::vector<float> weights(128);
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<float>(i) - 61.0f;
  const double expected = round_groups(weights).relative();
  for (float& w : weights) w *= 0x1p100f;
  EXPECT_DOUBLE_EQ(round_groups(weights).relative(), expected);
}

TEST(RoundingErrors, CountGroupsThatLeaveOutZero) {
  std::vector<float> weights(32, 0.5f);
  weights[3] = 0.75f;
  EXPECT_EQ(round_groups(weights).clipped_groups, 1);
  for (float& w : weights) w = -w;
  EXPECT_EQ(round_groups(weights).clipped_groups, 1);
  weights[0] = 0;
  EXPECT_EQ(round_groups(weights).clipped_groups, 0);
}

TEST(RoundingErrors, NoteWhatIsNotFinite) {
  for (const float bad :
       {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
        std::numeric_limits<float>::quiet_NaN()}) {
    for (const std::size_t at : {std::size_t{0}, std::size_t{17}, std::size_t{31}}) {
      std::vector<float> weights(32, 0.25f);
      weights[at] = bad;
      EXPECT_FALSE(round_groups(weights).finite);
    }
  }
}

TEST(RoundingErrors, AddUp) {
  RoundingError sum;
  sum += {1, 4, 2, true};
  sum += {3, 12, 1, true};
  EXPECT_EQ(sum.squared_error, 4);
  EXPECT_EQ(sum.clipped_groups, 3);
  EXPECT_DOUBLE_EQ(sum.relative(), 0.5);
  EXPECT_TRUE(sum.finite);
  sum += {0, 0, 0, false};
  sum += {0, 0, 0, true};
  EXPECT_FALSE(sum.finite);
  EXPECT_EQ(RoundingError{}.relative(), 0);
}

}  // namespace
}  // namespace nibble
