// The rounders per group (quant/per_group.h) and per channel (quant/per_channel.h) on rows.
#pragma once

#include <span>

#include "nibble/quant/rounders/integer_rows.h"

namespace nibble {

/// Rounds all groups of `rows` by round_group(), whole rows by round_row(). weights: (rows, cols).
void round_per_group(std::span<const float> weights, IntegerRows& rows);

}  // namespace nibble
