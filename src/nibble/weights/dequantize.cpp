#include "nibble/weights/dequantize.h"

#include <cassert>
#include <cstddef>
#include <cstring>

#include "nibble/core/bfloat16.h"
#include "nibble/core/error.h"
#include "nibble/weights/ggml_blocks.h"

namespace nibble {
namespace {

// Tensor bytes need not be aligned in their file, so elements are loaded by memcpy: on x86 the same
// instructions as a load, and vectorized the same.
template <typename T>
T load(const std::byte* data) {
  T value;
  std::memcpy(&value, data, sizeof(T));
  return value;
}

/// `count` elements from `data`, the start of a block, as float32.
void to_floats(DType dtype, const std::byte* data, std::int64_t count, float* out) {
  if (const BlockDequantizer decode = find_block_dequantizer(dtype)) {
    const DTypeLayout layout = dtype_layout(dtype);
    for (std::int64_t i = 0; i < count / layout.block; ++i) {
      decode(data + i * layout.bytes, out + i * layout.block);
    }
    return;
  }
  const auto elements = [&]<typename T>(T) {
    for (std::int64_t i = 0; i < count; ++i) {
      out[i] = to_float(load<T>(data + i * static_cast<std::int64_t>(sizeof(T))));
    }
  };
  switch (dtype) {
    case DType::kF32:
      if (count > 0) std::memcpy(out, data, static_cast<std::size_t>(count) * sizeof(float));
      return;
    case DType::kF16:
      return elements(Float16{});
    case DType::kBF16:
      return elements(BFloat16{});
    case DType::kF64:
      for (std::int64_t i = 0; i < count; ++i)
        out[i] = static_cast<float>(load<double>(data + 8 * i));
      return;
    default:
      fail("tensors of type {} cannot be used as weights, expected floating point numbers",
           dtype_name(dtype));
  }
}

}  // namespace

bool can_dequantize(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16 ||
         dtype == DType::kF64 || find_block_dequantizer(dtype) != nullptr;
}

void dequantize_rows(const TensorView& tensor, std::int64_t first_row, std::int64_t n_rows,
                     float* out) {
  assert(first_row >= 0 && n_rows >= 0 && first_row + n_rows <= tensor.rows());
  const std::byte* data = tensor.data + static_cast<std::size_t>(first_row) * tensor.row_bytes();
  to_floats(tensor.dtype, data, n_rows * tensor.cols(), out);
}

}  // namespace nibble
