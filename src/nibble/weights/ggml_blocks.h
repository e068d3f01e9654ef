// The weight formats of ggml, as they stand in GGUF files: blocks of 32 elements, or of 256 with a
// scale for each 16 or 32 of them that is an integer itself. Layouts:
// https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h.
#pragma once

#include <cstddef>

#include "nibble/core/dtype.h"

namespace nibble {

/// Writes the elements of one block (dtype_layout(dtype).block of them) to `out` as float32.
using BlockDequantizer = void (*)(const std::byte* block, float* out);

/// The decoder of a dtype in blocks; null for others. The values are those of ggml's reference
/// (dequantize_row_*) and of the gguf package bit for bit: each product and each sum is rounded to
/// float32 by itself.
BlockDequantizer find_block_dequantizer(DType dtype);

}  // namespace nibble
