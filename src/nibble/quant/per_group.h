// The per-group rounder: float weights to unsigned integers with a bfloat16 scale and a zero point
// a group. For a group with minimum lo and maximum hi, b bits, qmax = 2^b - 1, all in float32:
//
//   scale = bf16(max(hi - lo, 1e-5) / qmax)
//   zero  = clamp(-round(lo / scale), 0, qmax)
//   q     = clamp(round(w / scale) + zero, 0, qmax)
//
// rounding half to even, as llm-awq's pseudo_quantize_tensor does with bfloat16 scales.
#pragma once

#include <cstdint>
#include <span>

#include "nibble/core/bfloat16.h"
#include "nibble/weights/rounding_error.h"

namespace nibble {

/// Rounds one group. `weights` and `q` have the group's length; gives its scale and zero point.
struct GroupParameters {
  BFloat16 scale;
  std::uint8_t zero;
};
GroupParameters round_group(std::span<const float> weights, int bits, std::span<std::uint8_t> q,
                            RoundingError& error);

}  // namespace nibble
