#include "nibble/quant/per_channel.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace nibble {
namespace {

struct Rounded {
  std::vector<int> q;
  float scale;
  RoundingError error;
};

Rounded round(const std::vector<float>& weights) {
  std::vector<std::uint8_t> codes(weights.size());
  Rounded out;
  out.scale = round_row(weights, codes, out.error);
  for (const std::uint8_t code : codes) out.q.push_back(code - kMiddleOf8Bits);
  return out;
}

TEST(RoundRow, TheLargestMagnitudeIs127AndHalvesGoToEven) {
  const Rounded out = round({127.0F, -127.0F, 0.5F, 1.5F, -2.5F, 0.0F, 3.0F});
  EXPECT_EQ(out.scale, 1.0F);
  EXPECT_EQ(out.q, (std::vector<int>{127, -127, 0, 2, -2, 0, 3}));
  EXPECT_TRUE(out.error.finite);
  EXPECT_DOUBLE_EQ(out.error.squared_error, 3 * 0.25);
  EXPECT_EQ(round({-2.0F, 1.0F}).q, (std::vector<int>{-127, 64}));  // 63.5
}

TEST(RoundRow, ZerosAndTinyWeights) {
  EXPECT_EQ(round({0.0F, 0.0F}).q, (std::vector<int>{0, 0}));
  EXPECT_EQ(round({0.0F, 0.0F}).scale, 1e-5F / 127.0F);
  EXPECT_EQ(round({1e-6F, 0.0F}).q, (std::vector<int>{13, 0}));  // 12.7
  EXPECT_EQ(round({0.0F}).error.relative(), 0.0);
}

TEST(RoundRow, TellsOfWhatIsNoNumber) {
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    EXPECT_FALSE(round({1.0F, bad}).error.finite);
    EXPECT_FALSE(round({-bad, 1.0F}).error.finite);
  }
}

}  // namespace
}  // namespace nibble
