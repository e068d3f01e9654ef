// Rows of a checkpoint's tensor, whatever their stored type, as float32. The values are those of
// ggml and of its gguf package bit for bit (block scales in float16, the arithmetic in float32).
#pragma once

#include <cstdint>

#include "nibble/core/dtype.h"
#include "nibble/core/tensor_view.h"

namespace nibble {

/// Whether dequantize_rows() takes tensors of this type: F64, F32, F16, BF16 and those in blocks.
bool can_dequantize(DType dtype);

/// Rows first_row .. first_row + n_rows - 1 of `tensor`, a row being cols() elements, as float32.
/// out: (n_rows, cols). The rows must exist (checked by assert). Throws Error on other types,
/// naming them. Runs on the calling thread; split the rows to use more.
void dequantize_rows(const TensorView& tensor, std::int64_t first_row, std::int64_t n_rows,
                     float* out);

}  // namespace nibble
