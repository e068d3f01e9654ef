// Rounding to the nearest integer of a group, as every rounder does it.
#pragma once

#include <algorithm>

namespace nibble {

/// Rounds half to even, for |x| < 2^22: adding 1.5 * 2^23 leaves no bits behind the point. (rint()
/// would be a call per weight on the baseline instruction set.)
inline float round_half_even(float x) {
  constexpr float kMagic = 12582912.0f;
  return (x + kMagic) - kMagic;
}

/// round(x), for use where it is then clamped to 0..15 after adding at most 15: far values may be
/// moved nearer first.
inline float round_near(float x) {
  return round_half_even(std::clamp(x, -64.0f, 64.0f));
}

/// The integers of a group: w' = (q - zero) * scale, q in 0..qmax, at most 15.
struct IntegerGrid {
  float scale;  // a bfloat16 number above 0
  float zero;
  float qmax;

  /// The q whose w' is nearest to w.
  float nearest(float w) const { return std::clamp(round_near(w / scale) + zero, 0.0f, qmax); }
  float value(float q) const { return (q - zero) * scale; }
};

}  // namespace nibble
