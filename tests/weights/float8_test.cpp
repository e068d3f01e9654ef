#include "nibble/weights/float8.h"

#include <gtest/gtest.h>

#include <cmath>

namespace nibble {
namespace {

// Against the sum of what the bits mean, in double.
double meaning(int bits, int exponent_bits, int bias) {
  const int fraction_bits = 7 - exponent_bits;
  const int fraction = bits & ((1 << fraction_bits) - 1);
  const int exponent = bits >> fraction_bits & ((1 << exponent_bits) - 1);
  const double value =
      exponent == 0 ? std::ldexp(fraction, 1 - bias - fraction_bits)
                    : std::ldexp((1 << fraction_bits) + fraction, exponent - bias - fraction_bits);
  return (bits & 128) != 0 ? -value : value;
}

TEST(Float8, IsWhatTheBitsMean) {
  for (int bits = 0; bits < 256; ++bits) {
    const auto at = static_cast<std::size_t>(bits);
    const float e4m3 = float8_values(DType::kF8E4M3)[at];
    const float e5m2 = float8_values(DType::kF8E5M2)[at];
    if ((bits & 0x7f) == 0x7f) {
      EXPECT_TRUE(std::isnan(e4m3));
    } else {
      EXPECT_EQ(e4m3, meaning(bits, 4, 7)) << bits;
    }
    if ((bits & 0x7c) == 0x7c) {
      EXPECT_EQ(std::isnan(e5m2), (bits & 3) != 0);
      EXPECT_FALSE(std::isfinite(e5m2));
    } else {
      EXPECT_EQ(e5m2, meaning(bits, 5, 15)) << bits;
    }
  }
  EXPECT_EQ(float8_values(DType::kF8E4M3)[0x7e], 448.0f);  // the largest
}

}  // namespace
}  // namespace nibble
