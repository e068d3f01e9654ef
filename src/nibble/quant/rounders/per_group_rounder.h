// The per-group rounder (quant/per_group.h) on rows.
#pragma once

#include <span>

#include "nibble/quant/rounders/integer_rows.h"

namespace nibble {

/// Rounds all groups of `rows` by round_group(). weights: (rows, cols).
void round_per_group(std::span<const float> weights, IntegerRows& rows);

}  // namespace nibble
