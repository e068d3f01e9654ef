// Rounding to whole numbers in float32, the same on every instruction set.
#pragma once

namespace nibble {

/// Rounds half to even, for |x| < 2^22: adding 1.5 * 2^23 leaves no bits behind the point. (rint()
/// would be a call per weight on the baseline instruction set.)
inline float round_half_even(float x) {
  constexpr float kMagic = 12582912.0f;
  return (x + kMagic) - kMagic;
}

}  // namespace nibble
