// Some rows of a weight matrix as integers, on their way into a packed format.
#pragma once

#include <cstdint>
#include <vector>

#include "nibble/quant/nearest.h"
#include "nibble/weights/packed_group.h"

namespace nibble {

/// w'[r][c] = (q[r][c] - zero) * scale, with a scale and a zero point for each group of a row.
struct IntegerRows {
  /// `count` rows of a matrix of this layout (its own rows are not looked at); all zeros.
  IntegerRows(const PackedGroup& layout, std::int64_t count)
      : bits(layout.bits),
        group_size(layout.group_size),
        rows(count),
        cols(layout.cols),
        q(static_cast<std::size_t>(count * layout.cols)),
        scales(static_cast<std::size_t>(count * layout.groups())),
        zeros(scales.size()) {}

  std::int64_t groups() const { return cols / group_size; }
  std::uint8_t* q_row(std::int64_t r) { return q.data() + r * cols; }
  const std::uint8_t* q_row(std::int64_t r) const { return q.data() + r * cols; }
  IntegerGrid grid(std::int64_t r, std::int64_t group) const {
    const auto at = static_cast<std::size_t>(r * groups() + group);
    return {scales[at], static_cast<float>(zeros[at]), static_cast<float>((1 << bits) - 1)};
  }
  void set_scale(std::int64_t r, std::int64_t group, float scale) {
    scales[static_cast<std::size_t>(r * groups() + group)] = scale;
  }
  void set_zero(std::int64_t r, std::int64_t group, std::uint8_t zero) {
    zeros[static_cast<std::size_t>(r * groups() + group)] = zero;
  }

  int bits;
  int group_size;
  std::int64_t rows;
  std::int64_t cols;
  std::vector<std::uint8_t> q;      // (rows, cols)
  std::vector<float> scales;        // (rows, groups), bfloat16 numbers
  std::vector<std::uint8_t> zeros;  // (rows, groups)
};

}  // namespace nibble
