// Conversions against references computed another way: by ldexp, and by the midpoints between all
// neighbouring numbers.
#include "nibble/core/bfloat16.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

namespace nibble {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

/// A positive finite float16 by the definition of IEEE 754 binary16.
double float16_value(unsigned bits) {
  const int exponent = static_cast<int>(bits >> 10);
  const int mantissa = static_cast<int>(bits & 0x3ff);
  return exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
}

Float16 half(unsigned bits) {
  return {static_cast<std::uint16_t>(bits)};
}

BFloat16 brain(unsigned bits) {
  return {static_cast<std::uint16_t>(bits)};
}

TEST(Float16, EveryFiniteNumberHasItsValueAndComesBack) {
  for (unsigned bits = 0; bits < 0x7c00; ++bits) {
    ASSERT_EQ(to_float(half(bits)), float16_value(bits)) << bits;
    ASSERT_EQ(to_float(half(bits | 0x8000)), -float16_value(bits)) << bits;
    ASSERT_EQ(to_float16(to_float(half(bits))).bits, bits);
    ASSERT_EQ(to_float16(to_float(half(bits | 0x8000))).bits, bits | 0x8000);
  }
  EXPECT_TRUE(std::signbit(to_float(half(0x8000))));
}

TEST(Float16, InfinityAndEveryNaNStayThat) {
  EXPECT_EQ(to_float(half(0x7c00)), kInfinity);
  EXPECT_EQ(to_float(half(0xfc00)), -kInfinity);
  EXPECT_EQ(to_float16(kInfinity).bits, 0x7c00);
  EXPECT_EQ(to_float16(-kInfinity).bits, 0xfc00);
  for (unsigned bits = 0x7c01; bits <= 0x7fff; ++bits) {
    for (const unsigned sign : {0u, 0x8000u}) {
      const float value = to_float(half(bits | sign));
      ASSERT_TRUE(std::isnan(value)) << bits;
      ASSERT_GT(to_float16(value).bits & 0x7fff, 0x7c00);
      ASSERT_EQ(to_float16(value).bits & 0x8000, sign);
    }
  }
}

TEST(Float16, RoundsHalfToEvenBetweenAllNeighbours) {
  for (unsigned bits = 0; bits + 1 < 0x7c00; ++bits) {
    const auto middle = static_cast<float>((float16_value(bits) + float16_value(bits + 1)) / 2);
    const unsigned even = bits % 2 == 0 ? bits : bits + 1;
    ASSERT_EQ(to_float16(middle).bits, even) << middle;
    ASSERT_EQ(to_float16(-middle).bits, even | 0x8000) << middle;
    ASSERT_EQ(to_float16(std::nextafter(middle, 0.0f)).bits, bits) << middle;
    ASSERT_EQ(to_float16(std::nextafter(middle, kInfinity)).bits, bits + 1) << middle;
  }
}

TEST(Float16, OverflowsFromHalfwayPastTheLargest) {
  EXPECT_EQ(to_float16(std::nextafter(65520.0f, 0.0f)).bits, 0x7bff);
  EXPECT_EQ(to_float16(65520.0f).bits, 0x7c00);
  EXPECT_EQ(to_float16(-1e30f).bits, 0xfc00);
  EXPECT_EQ(to_float16(std::numeric_limits<float>::denorm_min()).bits, 0);
  EXPECT_EQ(to_float16(-0.0f).bits, 0x8000);
}

TEST(BFloat16, EveryNumberComesBack) {
  for (unsigned bits = 0; bits <= 0xffff; ++bits) {
    const float value = to_float(brain(bits));
    const bool is_nan = (bits & 0x7fff) > 0x7f80;
    ASSERT_EQ(std::isnan(value), is_nan) << bits;
    if (is_nan) {
      ASSERT_GT(to_bfloat16(value).bits & 0x7fff, 0x7f80) << bits;
    } else {
      ASSERT_EQ(to_bfloat16(value).bits, bits);
    }
  }
  EXPECT_EQ(to_float(brain(0x3fc0)), 1.5f);
  EXPECT_EQ(to_float(brain(0xc010)), -2.25f);
  EXPECT_EQ(to_float(brain(0x0001)), std::ldexp(1.0f, -133));
}

TEST(BFloat16, RoundsHalfToEvenBetweenAllNeighbours) {
  for (unsigned bits = 0; bits + 1 < 0x7f80; ++bits) {
    const double lower = to_float(brain(bits));
    const double upper = to_float(brain(bits + 1));
    const auto middle = static_cast<float>((lower + upper) / 2);
    const unsigned even = bits % 2 == 0 ? bits : bits + 1;
    ASSERT_EQ(to_bfloat16(middle).bits, even) << middle;
    ASSERT_EQ(to_bfloat16(-middle).bits, even | 0x8000) << middle;
    ASSERT_EQ(to_bfloat16(std::nextafter(middle, 0.0f)).bits, bits) << middle;
    ASSERT_EQ(to_bfloat16(std::nextafter(middle, kInfinity)).bits, bits + 1) << middle;
  }
}

TEST(BFloat16, LargeValuesOverflowAndNaNIsNeverInfinity) {
  EXPECT_EQ(to_bfloat16(std::numeric_limits<float>::max()).bits, 0x7f80);
  EXPECT_EQ(to_bfloat16(-kInfinity).bits, 0xff80);
  const auto low_payload = std::bit_cast<float>(0x7f800001u);  // lost in the upper half alone
  EXPECT_TRUE(std::isnan(to_float(to_bfloat16(low_payload))));
  EXPECT_TRUE(std::isnan(round_to_bfloat16(kNaN)));
  EXPECT_EQ(round_to_bfloat16(1.00390625f), 1.0f);  // 1 + 2^-8, halfway
}

}  // namespace
}  // namespace nibble
