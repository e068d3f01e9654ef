// Some rows of a weight matrix as integers, on their way into a packed format.
#pragma once

#include <cstdint>
#include <vector>

#include "nibble/quant/nearest.h"
#include "nibble/weights/weight_codec.h"

namespace nibble {

/// w'[r][c] = (q[r][c] - zero) * scale, with a scale and a zero point for each group of a row, or
/// for all of it where the format has no groups.
struct IntegerRows {
  /// `count` rows of a matrix of this layout (its own rows are not looked at); all zeros.
  IntegerRows(const WeightLayout& layout, std::int64_t count)
      : bits(codec_of(layout.format).bits),
        has_groups(layout.group_size > 0),
        group_size(has_groups ? layout.group_size : layout.cols),
        rows(count),
        cols(layout.cols),
        q(static_cast<std::size_t>(count * layout.cols)),
        scales(static_cast<std::size_t>(count * (layout.cols / group_size))),
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
  float largest = 0;  // magnitude that rows without groups take their scale from; 0: each its own
  bool has_groups;
  std::int64_t group_size;  // columns that share a scale
  std::int64_t rows;
  std::int64_t cols;
  std::vector<std::uint8_t> q;      // (rows, cols)
  std::vector<float> scales;        // (rows, groups), bfloat16 numbers where there are groups
  std::vector<std::uint8_t> zeros;  // (rows, groups)
};

}  // namespace nibble
