// The arrays that a weight matrix lies in, for code that moves rows without looking inside.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "nibble/weights/weight_view.h"

namespace nibble {

/// One array: blocks of rows, one after the other.
struct WeightPart {
  const std::byte* data;
  std::int64_t block_rows;  // rows of the matrix in a block; the last may have fewer
  std::int64_t block_bytes;
  std::int64_t blocks;

  std::int64_t bytes() const { return blocks * block_bytes; }
};

inline constexpr std::size_t kWeightParts = 3;
/// The elements or integers, the scales, the zero points; 0 bytes for what the format has not.
using WeightParts = std::array<WeightPart, kWeightParts>;

WeightParts weight_parts(const WeightView& view);

/// Bytes of all parts.
std::int64_t weight_bytes(const WeightView& view);

/// The same matrix with its parts at other places: those of `data`, in the order of weight_parts().
WeightView with_parts_at(WeightView view, const std::array<const std::byte*, kWeightParts>& data);

}  // namespace nibble
