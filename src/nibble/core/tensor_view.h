// A tensor somebody else owns: dtype, shape and where its bytes lie (as a rule in a mapped file).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "nibble/core/dtype.h"

namespace nibble {

struct TensorView {
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;  // outermost first; the last dimension is contiguous
  const std::byte* data = nullptr;
  std::size_t bytes = 0;

  /// Product of the shape (1 for a scalar).
  std::int64_t elements() const;
  /// Elements of the last dimension (1 for a scalar).
  std::int64_t cols() const { return shape.empty() ? 1 : shape.back(); }
  /// elements() / cols().
  std::int64_t rows() const;
  /// Bytes of one row: cols() elements.
  std::size_t row_bytes() const;
};

/// Where row `row` of a head of `head_rows` rows lies in a file that is ordered for RoPE on
/// neighbours: row s D/2 + j at 2 j + s. Rows are counted through all heads.
std::int64_t interleaved_row(std::int64_t row, std::int64_t head_rows);

/// "[2, 3]"
std::string shape_to_string(const std::vector<std::int64_t>& shape);

/// Bytes a tensor of `shape` takes, or -1 where a dimension is negative, the last one is not a
/// whole number of the dtype's blocks, or the product does not fit in 63 bits.
std::int64_t checked_tensor_bytes(DType dtype, const std::vector<std::int64_t>& shape);

}  // namespace nibble
