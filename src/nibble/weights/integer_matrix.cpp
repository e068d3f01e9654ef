#include "nibble/weights/integer_matrix.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>

#include "nibble/core/bfloat16.h"
#include "nibble/weights/weight_codec.h"

namespace nibble {
namespace {

// Field i of a word belongs to row kAwqOrder4[i] of its eight (AutoAWQ,
// awq/modules/linear/gemm.py), of 8 bits to row kAwqOrder8[i] of its four (gptqmodel,
// nn_modules/qlinear/machete_awq.py, whose order is its own inverse).
constexpr int kAwqOrder4[] = {0, 2, 4, 6, 1, 3, 5, 7};
constexpr int kAwqOrder8[] = {0, 2, 1, 3};

/// 32-bit words that may lie at any byte of a file, `stride` words from one to the next.
class Words {
 public:
  Words(const TensorView& tensor, std::int64_t first, std::int64_t stride)
      : data_(tensor.data + first * 4), stride_(stride * 4) {}
  std::uint32_t operator[](std::int64_t i) const {
    std::uint32_t word;
    std::memcpy(&word, data_ + i * stride_, sizeof word);
    return word;
  }

 private:
  const std::byte* data_;
  std::int64_t stride_;
};

/// Eight nibbles, lowest first, as eight bytes.
std::uint64_t spread_nibbles(std::uint32_t word) {
  std::uint64_t bytes = word;
  bytes = (bytes | bytes << 16) & 0x0000ffff0000ffffu;
  bytes = (bytes | bytes << 8) & 0x00ff00ff00ff00ffu;
  return (bytes | bytes << 4) & 0x0f0f0f0f0f0f0f0fu;
}

/// Value i of a stream.
std::uint8_t stream_value(const Words& words, int bits, std::int64_t i) {
  const std::int64_t bit = i * bits;
  const auto shift = static_cast<int>(bit % 32);
  std::uint32_t value = words[bit / 32] >> shift;
  if (shift + bits > 32) value |= words[bit / 32 + 1] << (32 - shift);
  return static_cast<std::uint8_t>(value & ((1u << bits) - 1u));
}

/// 32 values of 3 bits.
void read_three_words(const Words& words, std::int64_t first, std::uint8_t* out) {
  const std::uint64_t low = words[first] | static_cast<std::uint64_t>(words[first + 1]) << 32;
  const std::uint64_t high = low >> 63 | static_cast<std::uint64_t>(words[first + 2]) << 1;
  for (int i = 0; i < 21; ++i) out[i] = static_cast<std::uint8_t>(low >> (3 * i) & 7u);
  for (int i = 0; i < 11; ++i) out[21 + i] = static_cast<std::uint8_t>(high >> (3 * i) & 7u);
}

/// The widths of the planes of `bits` bits, the lowest bits first; 0 ends them.
constexpr std::array<int, 4> planes_of(int bits) {
  if (bits == 8) return {8};
  if (bits >= 4) return {4, (bits - 4) & 2, (bits - 4) & 1};
  return {2, bits - 2};
}

/// Value i of planes.
std::uint8_t plane_value(const Words& words, int bits, std::int64_t i) {
  const std::int64_t block = i / 32 * bits;  // its first word
  unsigned value = 0;
  int low = 0;
  for (const int width : planes_of(bits)) {
    if (width == 0) continue;
    const std::int64_t bit = i % 32 * width;
    const std::uint32_t word = words[block + low + bit / 32];
    value |= (word >> (bit % 32) & ((1u << width) - 1u)) << low;
    low += width;
  }
  return static_cast<std::uint8_t>(value);
}

/// Values 0 .. count - 1 of a stream, one after the other.
void read_stream(const Words& words, int bits, std::int64_t count, std::uint8_t* out) {
  std::int64_t i = 0;
  if (bits == 4) {
    for (; i + 8 <= count; i += 8) {
      const std::uint64_t bytes = spread_nibbles(words[i / 8]);
      std::memcpy(out + i, &bytes, sizeof bytes);
    }
  } else if (bits == 8) {
    for (; i + 4 <= count; i += 4) {
      const std::uint32_t bytes = words[i / 4];
      std::memcpy(out + i, &bytes, sizeof bytes);
    }
  } else if (bits == 3) {
    for (; i + 32 <= count; i += 32) read_three_words(words, i / 32 * 3, out + i);
  }
  for (; i < count; ++i) out[i] = stream_value(words, bits, i);
}

void read_whole_values(const IntegerMatrix& matrix, const Words& words, std::uint8_t* out) {
  const std::uint32_t mask = (1u << matrix.bits) - 1u;
  for (std::int64_t i = 0; i < matrix.cols; ++i) {
    const int shift = static_cast<int>(i % matrix.values_per_word) * matrix.bits;
    out[i] = static_cast<std::uint8_t>((words[i / matrix.values_per_word] >> shift) & mask);
  }
}

/// int8 in the range of `bits` bits to the same numbers with an offset, from 0 up.
std::uint8_t offset_byte(std::byte value, int bits) {
  return static_cast<std::uint8_t>(static_cast<std::int8_t>(value) + (1 << (bits - 1)));
}

/// Rows first .. first + 15 (whole words of them exist) of words that hold 32 / Bits rows each.
/// out: (16, items) by `row_stride` and `item_stride`.
template <int Bits>
void read_awq_words(const TensorView& tensor, std::int64_t rows, std::int64_t first,
                    std::int64_t items, std::int64_t row_stride, std::int64_t item_stride,
                    std::uint8_t* out) {
  constexpr int kRows = 32 / Bits;
  const int* order = Bits == 4 ? kAwqOrder4 : kAwqOrder8;
  const std::int64_t count = std::min(kRowBlock, rows - first) / kRows;  // words of an item
  std::uint8_t* place[kRows];
  for (int i = 0; i < kRows; ++i) place[i] = out + order[i] * row_stride;
  for (std::int64_t item = 0; item < items; ++item) {
    const Words words(tensor, item * (rows / kRows) + first / kRows, 1);
    for (std::int64_t w = 0; w < count; ++w) {
      const std::int64_t at = kRows * w * row_stride + item * item_stride;
      const std::uint32_t word = words[w];
      for (int i = 0; i < kRows; ++i) {
        place[i][at] = static_cast<std::uint8_t>((word >> (Bits * i)) & ((1u << Bits) - 1u));
      }
    }
  }
}

/// The columns of the codes, or the groups of the zero points: `tensor`, of the matrix.
void read_awq(const IntegerMatrix& matrix, const TensorView& tensor, std::int64_t first,
              std::int64_t row_stride, std::int64_t item_stride, std::uint8_t* out) {
  const auto read = matrix.bits == 4 ? read_awq_words<4> : read_awq_words<8>;
  read(tensor, matrix.rows, first, tensor.rows(), row_stride, item_stride, out);
}

/// gptqmodel before 7 took 0x24924924, 0x92492492 and 0x49249249 from every three words of zero
/// points of 3 bits, gptqmodel/utils/model.py: convert_gptq_v2_to_v1_format_module().
std::uint8_t words_less_zero(const Words& words, std::int64_t row) {
  constexpr std::uint32_t kTaken[] = {0x24924924u, 0x92492492u, 0x49249249u};
  const std::int64_t bit = row * 3;
  const std::int64_t word = bit / 32;
  const auto shift = static_cast<int>(bit % 32);
  std::uint32_t value = (words[word] + kTaken[word % 3]) >> shift;
  if (shift + 3 > 32) value |= (words[word + 1] + kTaken[(word + 1) % 3]) << (32 - shift);
  return static_cast<std::uint8_t>(value & 7u);
}

/// What a tool of GPTQ's first format stored: zero - 1. Taking it back is a sum of whole words, as
/// gptqmodel does it, in which a field that overflows carries into the next; for 3 bits, whose
/// fields cross words, it adds to each field.
std::uint8_t gptq_zero(const IntegerMatrix& matrix, std::int64_t group, std::int64_t row) {
  const std::int64_t words_per_group = matrix.rows * matrix.bits / 32;
  const Words words(matrix.zero_tensor, group * words_per_group, 1);
  const std::uint32_t mask = (1u << matrix.bits) - 1u;
  if (matrix.zeros == IntegerMatrix::Zeros::kGptq) return stream_value(words, matrix.bits, row);
  if (matrix.zeros == IntegerMatrix::Zeros::kPlanes) return plane_value(words, matrix.bits, row);
  if (matrix.zeros == IntegerMatrix::Zeros::kGptqV1Words) return words_less_zero(words, row);
  if (matrix.bits == 3) {
    return static_cast<std::uint8_t>((stream_value(words, 3, row) + 1u) & mask);
  }
  const std::uint32_t ones = 0xffffffffu / mask;  // 1 in every field
  const std::int64_t bit = row * matrix.bits;
  return static_cast<std::uint8_t>(((words[bit / 32] + ones) >> (bit % 32)) & mask);
}

std::uint8_t zero_of(const IntegerMatrix& matrix, std::int64_t group, std::int64_t row) {
  switch (matrix.zeros) {
    case IntegerMatrix::Zeros::kGptq:
    case IntegerMatrix::Zeros::kGptqV1:
    case IntegerMatrix::Zeros::kGptqV1Words:
    case IntegerMatrix::Zeros::kPlanes:
      return gptq_zero(matrix, group, row);
    case IntegerMatrix::Zeros::kAlong:
      return stream_value(Words(matrix.zero_tensor, row * matrix.zero_tensor.cols(), 1),
                          matrix.bits, group);
    case IntegerMatrix::Zeros::kRows:
      return stream_value(Words(matrix.zero_tensor, group, matrix.groups), matrix.bits, row);
    case IntegerMatrix::Zeros::kBytes:
      return offset_byte(
          matrix.zero_tensor.data[row * matrix.scale_row_step + group * matrix.scale_group_step],
          matrix.bits);
    default:
      return static_cast<std::uint8_t>(1u << (matrix.bits - 1));
  }
}

float scale_at(const TensorView& scales, std::int64_t index) {
  const std::byte* place = scales.data + index * dtype_layout(scales.dtype).bytes;
  float value;
  std::uint16_t half;
  if (scales.dtype == DType::kF32) {
    std::memcpy(&value, place, sizeof value);
    return value;
  }
  std::memcpy(&half, place, sizeof half);
  return scales.dtype == DType::kF16 ? to_float(Float16{half}) : to_float(BFloat16{half});
}

/// The blocks of row `row` of a matrix of ggml's.
const std::byte* ggml_row(const IntegerMatrix& matrix, std::int64_t row) {
  const std::int64_t heads = matrix.interleaved_heads;
  const std::int64_t stored = heads == 0 ? row : interleaved_row(row, matrix.rows / heads);
  return matrix.code_tensor.data +
         stored * static_cast<std::int64_t>(matrix.code_tensor.row_bytes());
}

/// The integers of a row of blocks: a float16 scale; of 5 bits, the fifth ones in a word; then half
/// bytes of elements 0-15 in the low and 16-31 in the high halves, or bytes.
void read_ggml_row(const IntegerMatrix& matrix, std::int64_t row, std::uint8_t* out) {
  const std::byte* block = ggml_row(matrix, row);
  const std::int64_t block_bytes = dtype_layout(matrix.code_tensor.dtype).bytes;
  for (std::int64_t c = 0; c < matrix.cols; c += 32, block += block_bytes) {
    if (matrix.bits == 8) {
      for (std::int64_t i = 0; i < 32; ++i) out[c + i] = offset_byte(block[2 + i], 8);
      continue;
    }
    const bool has_fifth = matrix.bits == 5;
    std::uint32_t fifth = 0;
    if (has_fifth) std::memcpy(&fifth, block + 2, sizeof fifth);
    const auto* q = reinterpret_cast<const std::uint8_t*>(block) + (has_fifth ? 6 : 2);
    for (std::int64_t i = 0; i < 16; ++i) {
      out[c + i] = static_cast<std::uint8_t>((q[i] & 15u) | (fifth >> i & 1u) << 4);
      out[c + i + 16] = static_cast<std::uint8_t>((q[i] >> 4) | (fifth >> (i + 16) & 1u) << 4);
    }
  }
}

float ggml_scale(const IntegerMatrix& matrix, std::int64_t row, std::int64_t group) {
  Float16 scale;
  std::memcpy(&scale, ggml_row(matrix, row) + group * dtype_layout(matrix.code_tensor.dtype).bytes,
              sizeof scale);
  return to_float(scale);
}

}  // namespace

void read_codes(const IntegerMatrix& matrix, std::int64_t first, std::span<std::uint8_t> q) {
  assert(std::ssize(q) == kRowBlock * matrix.cols);
  std::fill(q.begin(), q.end(), std::uint8_t{0});
  if (matrix.codes == IntegerMatrix::Codes::kAwq) {
    read_awq(matrix, matrix.code_tensor, first, matrix.cols, 1, q.data());
    return;
  }
  for (std::int64_t row = first; row < std::min(first + kRowBlock, matrix.rows); ++row) {
    std::uint8_t* out = q.data() + (row - first) * matrix.cols;
    if (matrix.codes == IntegerMatrix::Codes::kGgml) {
      read_ggml_row(matrix, row, out);
    } else if (matrix.codes == IntegerMatrix::Codes::kGptq) {
      read_stream(Words(matrix.code_tensor, row, matrix.rows), matrix.bits, matrix.cols, out);
    } else if (matrix.codes == IntegerMatrix::Codes::kPlanes) {
      const Words words(matrix.code_tensor, row, matrix.rows);
      for (std::int64_t c = 0; c < matrix.cols; ++c) out[c] = plane_value(words, matrix.bits, c);
    } else if (matrix.codes == IntegerMatrix::Codes::kRows) {
      const Words words(matrix.code_tensor, row * matrix.code_tensor.cols(), 1);
      if (matrix.values_per_word > 0) {
        read_whole_values(matrix, words, out);
      } else {
        read_stream(words, matrix.bits, matrix.cols, out);
      }
    } else {
      const std::byte* bytes = matrix.code_tensor.data + row * matrix.cols;
      for (std::int64_t c = 0; c < matrix.cols; ++c) out[c] = offset_byte(bytes[c], matrix.bits);
    }
  }
}

void read_zeros(const IntegerMatrix& matrix, std::int64_t first, std::span<std::uint8_t> zeros) {
  assert(std::ssize(zeros) == kRowBlock * matrix.groups);
  std::fill(zeros.begin(), zeros.end(), std::uint8_t{0});
  if (matrix.zeros == IntegerMatrix::Zeros::kAwq) {
    read_awq(matrix, matrix.zero_tensor, first, 1, kRowBlock, zeros.data());
    return;
  }
  for (std::int64_t group = 0; group < matrix.groups; ++group) {
    for (std::int64_t row = first; row < std::min(first + kRowBlock, matrix.rows); ++row) {
      zeros[static_cast<std::size_t>(group * kRowBlock + row - first)] =
          zero_of(matrix, group, row);
    }
  }
}

void read_scales(const IntegerMatrix& matrix, std::int64_t first, std::span<float> scales) {
  assert(std::ssize(scales) == kRowBlock * matrix.groups);
  std::fill(scales.begin(), scales.end(), 0.0F);
  for (std::int64_t group = 0; group < matrix.groups; ++group) {
    for (std::int64_t row = first; row < std::min(first + kRowBlock, matrix.rows); ++row) {
      const std::int64_t index = row * matrix.scale_row_step + group * matrix.scale_group_step;
      scales[static_cast<std::size_t>(group * kRowBlock + row - first)] =
          matrix.codes == IntegerMatrix::Codes::kGgml ? ggml_scale(matrix, row, group)
                                                      : scale_at(matrix.scale_tensor, index);
    }
  }
}

void dequantize_column(const IntegerMatrix& matrix, std::int64_t column, std::span<float> out) {
  assert(std::ssize(out) == matrix.rows);
  assert(matrix.codes == IntegerMatrix::Codes::kGptq ||
         matrix.codes == IntegerMatrix::Codes::kPlanes);
  const bool planes = matrix.codes == IntegerMatrix::Codes::kPlanes;
  const std::int64_t group = matrix.group_of[static_cast<std::size_t>(column)];
  for (std::int64_t row = 0; row < matrix.rows; ++row) {
    const Words words(matrix.code_tensor, row, matrix.rows);
    const int code =
        planes ? plane_value(words, matrix.bits, column) : stream_value(words, matrix.bits, column);
    const std::int64_t scale = row * matrix.scale_row_step + group * matrix.scale_group_step;
    out[static_cast<std::size_t>(row)] = static_cast<float>(code - zero_of(matrix, group, row)) *
                                         scale_at(matrix.scale_tensor, scale);
  }
}

}  // namespace nibble
