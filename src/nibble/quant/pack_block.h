// A block of 16 rows rounded and packed, in any of the packed formats.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "nibble/weights/packed_layout.h"
#include "nibble/weights/rounding_error.h"

namespace nibble {

/// The block's share of each of packed_parts(): integers, scales and, where the format has them,
/// zero points.
using PackedBlock = std::array<std::span<std::byte>, 3>;

/// Rounds and packs the first `rows` (up to 16) rows of a block, weights (rows, cols).
RoundingError pack_block(const PackedLayout& layout, std::span<const float> weights,
                         std::int64_t rows, const PackedBlock& out);

}  // namespace nibble
