// The per-channel rounder: float weights to signed integers of 8 bits with a float32 scale for each
// output channel (row), in float32:
//
//   scale = max(max|w|, 1e-5) / 127
//   q     = clamp(round(w / scale), -127, 127)
//
// rounding half to even, as int8 weights are in SmoothQuant (Xiao et al. 2022, per-channel).
#pragma once

#include <cstdint>
#include <span>

#include "nibble/weights/rounding_error.h"

namespace nibble {

/// Rounds one row; `q` has its length. Gives the scale.
float round_channel(std::span<const float> weights, std::span<std::int8_t> q, RoundingError& error);

}  // namespace nibble
