#include "nibble/core/arg_max.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace nibble {
namespace {

constexpr float kNoNumber = std::numeric_limits<float>::quiet_NaN();

TEST(ArgMax, IsTheFirstOfTheLargest) {
  std::mt19937 random(3);
  std::uniform_int_distribution<int> value(-50, 50);  // many are equal
  for (std::size_t size = 1; size < 100; ++size) {
    std::vector<float> values(size);
    for (float& one : values) one = static_cast<float>(value(random));
    const auto expected = std::max_element(values.begin(), values.end()) - values.begin();
    EXPECT_EQ(arg_max(values), static_cast<std::size_t>(expected));
  }
}

TEST(ArgMax, PassesOverWhatIsNotANumber) {
  EXPECT_EQ(arg_max(std::vector<float>{kNoNumber, -2, kNoNumber, -1, kNoNumber}), 3u);
  std::vector<float> values(40, kNoNumber);
  EXPECT_EQ(arg_max(values), 0u);
  values[33] = -HUGE_VALF;
  EXPECT_EQ(arg_max(values), 33u);
  values[35] = HUGE_VALF;
  EXPECT_EQ(arg_max(values), 35u);
  EXPECT_EQ(arg_max(std::vector<float>{-0.0F, 0.0F}), 0u);
  EXPECT_EQ(arg_max({}), 0u);
}

}  // namespace
}  // namespace nibble
