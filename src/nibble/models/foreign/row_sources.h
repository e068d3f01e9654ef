// Weights of other tools that are read row by row as floats.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

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

struct Float8Scheme {
  /// Rows and columns that share a scale where there is neither one for all nor one a row.
  std::pair<std::int64_t, std::int64_t> block = {128, 128};
  bool divides = false;  // by the scale, instead of times it
};

/// The matrix of `module`, its scale behind `scale_suffix`. Nothing if the weight is of another
/// type.
std::optional<Float8Matrix> find_float8(ModuleParts& parts, const char* scale_suffix,
                                        const Float8Scheme& scheme);

/// What is shown of them and read as rows; `tensors` names the parts.
ForeignRows float8_rows(const Float8Matrix& matrix, std::vector<std::string> tensors);
ForeignRows integer_rows(ForeignLayer layer, std::unique_ptr<const RowSource> rows);

}  // namespace nibble::foreign
