#include "nibble/weights/dequantize.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstring>

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
  if (const BlockDecoder decode = find_block_decoder(dtype)) {
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
    default:
      fail("tensors of type {} cannot be used as weights, expected floating point numbers",
           dtype_name(dtype));
  }
}

/// Checks that the rows exist, and gives the place of the first.
const std::byte* row_data(const TensorView& tensor, std::int64_t first_row,
                          [[maybe_unused]] std::int64_t n_rows) {
  assert(first_row >= 0 && n_rows >= 0 && first_row + n_rows <= tensor.rows());
  return tensor.data + static_cast<std::size_t>(first_row) * tensor.row_bytes();
}

}  // namespace

bool can_dequantize(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16 ||
         find_block_decoder(dtype) != nullptr;
}

void dequantize_rows(const TensorView& tensor, std::int64_t first_row, std::int64_t n_rows,
                     float* out) {
  to_floats(tensor.dtype, row_data(tensor, first_row, n_rows), n_rows * tensor.cols(), out);
}

void rows_to_bf16(const TensorView& tensor, std::int64_t first_row, std::int64_t n_rows,
                  BFloat16* out) {
  const std::byte* data = row_data(tensor, first_row, n_rows);
  const std::int64_t count = n_rows * tensor.cols();
  if (tensor.dtype == DType::kBF16) {
    if (count > 0) std::memcpy(out, data, static_cast<std::size_t>(count) * sizeof(BFloat16));
    return;
  }
  // Through a piece that stays in the first-level cache; whole blocks, as 1024 is four of the
  // longest.
  constexpr std::int64_t kPiece = 1024;
  std::array<float, kPiece> floats;
  const DTypeLayout layout = dtype_layout(tensor.dtype);
  for (std::int64_t start = 0; start < count; start += kPiece) {
    const std::int64_t n = std::min(kPiece, count - start);
    to_floats(tensor.dtype, data + start / layout.block * layout.bytes, n, floats.data());
    for (std::int64_t i = 0; i < n; ++i) out[start + i] = to_bfloat16(floats[i]);
  }
}

}  // namespace nibble
