#include "nibble/weights/dequantize.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstring>

#include "nibble/core/error.h"

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

constexpr std::int64_t kBlock = 32;  // elements of a block of Q8_0, Q4_0 and Q4_1

// Blocks as ggml lays them out: https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h.

/// float16 scale, 32 signed bytes: scale * q.
void q8_0_block(const std::byte* block, float* out) {
  const float scale = to_float(load<Float16>(block));
  const auto* quants = reinterpret_cast<const std::int8_t*>(block + 2);
  for (std::int64_t i = 0; i < kBlock; ++i) out[i] = static_cast<float>(quants[i]) * scale;
}

/// float16 scale, 16 bytes holding elements 0-15 in their low and 16-31 in their high halves:
/// scale * (q - 8).
void q4_0_block(const std::byte* block, float* out) {
  const float scale = to_float(load<Float16>(block));
  const auto* quants = reinterpret_cast<const std::uint8_t*>(block + 2);
  for (std::int64_t i = 0; i < kBlock / 2; ++i) {
    out[i] = static_cast<float>((quants[i] & 15) - 8) * scale;
    out[i + kBlock / 2] = static_cast<float>((quants[i] >> 4) - 8) * scale;
  }
}

/// float16 scale, float16 minimum, 16 bytes as in Q4_0: scale * q + minimum.
void q4_1_block(const std::byte* block, float* out) {
  const float scale = to_float(load<Float16>(block));
  const float minimum = to_float(load<Float16>(block + 2));
  const auto* quants = reinterpret_cast<const std::uint8_t*>(block + 4);
  for (std::int64_t i = 0; i < kBlock / 2; ++i) {
    out[i] = static_cast<float>(quants[i] & 15) * scale + minimum;
    out[i + kBlock / 2] = static_cast<float>(quants[i] >> 4) * scale + minimum;
  }
}

/// `count` elements from `data`, the start of a block, as float32.
void to_floats(DType dtype, const std::byte* data, std::int64_t count, float* out) {
  const auto blocks = [&](auto convert) {
    const std::int64_t bytes = dtype_layout(dtype).bytes;
    for (std::int64_t i = 0; i < count / kBlock; ++i) convert(data + i * bytes, out + i * kBlock);
  };
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
    case DType::kQ8_0:
      return blocks(q8_0_block);
    case DType::kQ4_0:
      return blocks(q4_0_block);
    case DType::kQ4_1:
      return blocks(q4_1_block);
    default:
      fail(
          "tensors of type {} cannot be used as weights, expected F32, F16, BF16, Q8_0, Q4_0 or "
          "Q4_1",
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
         dtype == DType::kQ8_0 || dtype == DType::kQ4_0 || dtype == DType::kQ4_1;
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
  // Through a piece that stays in the first-level cache; whole blocks, as 1024 is 32 of them.
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
