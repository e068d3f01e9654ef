#include "nibble/weights/float8.h"

#include <cmath>
#include <limits>

#include "nibble/core/bfloat16.h"

namespace nibble {
namespace {

float e4m3_value(unsigned bits) {
  const unsigned magnitude = bits & 0x7fu;
  const float sign = (bits & 0x80u) != 0 ? -1.0f : 1.0f;
  if (magnitude == 0x7fu) return std::numeric_limits<float>::quiet_NaN();
  const unsigned exponent = magnitude >> 3;
  const auto fraction = static_cast<float>(magnitude & 7u);
  if (exponent == 0) return sign * std::ldexp(fraction, -9);
  return sign * std::ldexp(8.0f + fraction, static_cast<int>(exponent) - 10);
}

float e5m2_value(unsigned bits) {
  return to_float(Float16{static_cast<std::uint16_t>(bits << 8)});
}

std::array<float, 256> make_values(float (*value)(unsigned bits)) {
  std::array<float, 256> values{};
  for (unsigned bits = 0; bits < 256; ++bits) values[bits] = value(bits);
  return values;
}

}  // namespace

const std::array<float, 256>& float8_values(DType dtype) {
  static const std::array<float, 256> e4m3 = make_values(e4m3_value);
  static const std::array<float, 256> e5m2 = make_values(e5m2_value);
  return dtype == DType::kF8E4M3 ? e4m3 : e5m2;
}

}  // namespace nibble
