// The arrays that a weight matrix lies in, for code that moves rows without looking inside.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "nibble/weights/weight_codec.h"

namespace nibble {

/// One array: blocks of rows, one after the other.
struct WeightPart {
  const std::byte* data = nullptr;
  std::int64_t block_rows = 1;  // rows of the matrix in a block; the last may have fewer
  std::int64_t block_bytes = 0;
  std::int64_t blocks = 0;

  std::int64_t bytes() const { return blocks * block_bytes; }
};

/// In the order of WeightView::parts; 0 bytes for those that the format has not.
using WeightParts = std::array<WeightPart, kWeightParts>;

WeightParts weight_parts(const WeightView& view);

/// The same matrix with its parts at other places, in that order.
WeightView with_parts_at(const WeightLayout& layout,
                         const std::array<const std::byte*, kWeightParts>& data);

}  // namespace nibble
