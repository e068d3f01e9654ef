// Weights of other tools that are read row by row as floats.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "nibble/models/foreign/layer.h"
#include "nibble/models/foreign/module_parts.h"

namespace nibble::foreign {

/// (q - zero) * scale of an integer matrix whose codes lie along its rows (kRows, kBytes).
std::unique_ptr<const RowSource> make_integer_rows(IntegerMatrix matrix);

/// The columns of an integer matrix as rows: one with codes that dequantize_column() reads.
std::unique_ptr<const RowSource> make_column_rows(IntegerMatrix matrix);

/// 8-bit floats times their scales: one for all, one a row, one a group of columns, or one a block
/// of rows and columns.
struct Float8Matrix {
  TensorView weight;  // (rows, cols), F8_E4M3 or F8_E5M2
  TensorView scale;   // F16, BF16 or F32: one, or (row blocks, column blocks)
  std::int64_t block_rows = 1;
  std::int64_t block_cols = 1;
  bool divides = false;
};
bool is_float8(DType dtype);
std::unique_ptr<const RowSource> make_float8_rows(const Float8Matrix& matrix);

struct Float8Scheme {
  /// Rows and columns that share a scale where there is one for each block; {0, 0}: what the
  /// scale's shape says, 128 x 128 where that would do.
  std::pair<std::int64_t, std::int64_t> block = {0, 0};
  bool divides = false;  // by the scale, instead of times it
};

/// The matrix of `module`, its scale behind `scale_suffix`. Nothing if the weight is of another
/// type.
std::optional<Float8Matrix> find_float8(ModuleParts& parts, const char* scale_suffix,
                                        const Float8Scheme& scheme);

}  // namespace nibble::foreign
