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
#include "nibble/quant/nearest.h"
#include "nibble/weights/rounding_error.h"

namespace nibble {

/// The integers of a group whose least and largest weight are these.
IntegerGrid grid_between(float lo, float hi, int bits);

/// Rounds one group. `weights` and `q` have the group's length; gives its scale and zero point.
struct GroupParameters {
  BFloat16 scale;
  std::uint8_t zero;
};
GroupParameters round_group(std::span<const float> weights, int bits, std::span<std::uint8_t> q,
                            RoundingError& error);

/// What rounding groups of `group_size` makes of weights, w' in place of w: whole groups.
void simulate_groups(std::span<float> weights, int group_size, int bits);

}  // namespace nibble
