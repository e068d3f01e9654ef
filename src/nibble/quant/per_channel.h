// The rounder of 8 bits: a row of float weights (an output channel) to integers of -127..127 with
// one float32 scale, in float32:
//
//   scale = max(max|w|, 1e-5) / 127
//   q     = round(w / scale)
//
// rounding half to even, symmetric as SmoothQuant's weights are (Xiao et al. 2023).
#pragma once

#include <cstdint>
#include <span>

#include "nibble/quant/per_group.h"

namespace nibble {

/// The zero point of integers that are stored from 1 up.
inline constexpr std::uint8_t kMiddleOf8Bits = 128;

/// Rounds one row; q, of the row's length, becomes kMiddleOf8Bits + the integers. largest: what
/// stands for max|w|, no smaller, where rows share a scale; 0: the row's own. Returns the scale.
float round_row(std::span<const float> weights, std::span<std::uint8_t> q, RoundingError& error,
                float largest = 0);

}  // namespace nibble
