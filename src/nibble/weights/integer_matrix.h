// Integer weights as other tools' checkpoints hold them: AutoAWQ's layouts, GPTQ's, those of
// compressed-tensors and GGUF's without minimums. All mean w' = (q - zero) * scale, with a scale
// and a zero point for each row and group of columns. Read 16 rows at a time as what our own
// formats are packed from (weights/repack.h); the tensors' shapes have been checked by then.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "nibble/core/tensor_view.h"

namespace nibble {

/// Rows are outputs, columns inputs, as everywhere here. A stream is a run of values of `bits` bits
/// in 32-bit words, the lowest bits of the first word first. Planes hold 32 values in `bits` words,
/// so that none lies in two: streams of 4, 2 and 1 of their bits, the lowest first (3 = 2 + 1, 5 =
/// 4 + 1, 6 = 4 + 2, 7 = 4 + 2 + 1), one behind the other; gptqmodel's docs/gptq_planar.md.
struct IntegerMatrix {
  enum class Codes : std::uint8_t {
    kGptq,    // qweight, (cols * bits / 32, rows) int32: a stream down each column of words
    kPlanes,  // qweight, the same shape: planes of bits down each column of words
    kAwq,     // qweight, (cols, rows * bits / 32) int32: of 4 bits rows 0 2 4 6 1 3 5 7 of eight in
              // a word, of 8 bits rows 0 2 1 3 of four
    kRows,    // (rows, words) int32: a stream along each row; of q + 2^(bits - 1) in weight_packed
    kBytes,   // weight, (rows, cols) int8: of 8 bits
    kGgml     // blocks of 32 of ggml's Q4_0, Q5_0 or Q8_0, each behind its scale
  };
  enum class Zeros : std::uint8_t {
    kMiddle,  // 2^(bits - 1) everywhere: symmetric, in what is stored with that offset
    kGptq,    // qzeros, (groups, rows * bits / 32) int32: a stream along each row of words, of zero
    kGptqV1,  // the same, of zero - 1
    kGptqV1Words,  // the same of 3 bits, less a number for each whole word (gptqmodel before 7)
    kPlanes,       // the same shape: planes of bits along each row of words, of zero
    kAwq,          // qzeros, (groups, rows * bits / 32) int32, ordered as the codes
    kAlong,        // qzeros, (rows, words) int32: a stream along each row, of a zero for each group
    kRows,  // weight_zero_point, (words, groups) int32: a stream down each column, with the offset
    kBytes  // weight_zero_point, int8 in the range of the bits, one beside each scale
  };

  Codes codes = Codes::kGptq;
  Zeros zeros = Zeros::kMiddle;
  int bits = 4;  // 2..8
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t groups = 0;
  TensorView code_tensor;
  TensorView zero_tensor;   // none for Zeros::kMiddle
  TensorView scale_tensor;  // F16, BF16 or F32
  // That of a row and group is element row * scale_row_step + group * scale_group_step.
  std::int64_t scale_row_step = 1;
  std::int64_t scale_group_step = 0;
  std::int64_t interleaved_heads = 0;  // of Codes::kGgml: rows lie as interleaved_row() says
  int values_per_word = 0;             // of Codes::kRows: whole values in a word, 0 for a stream
  std::vector<std::int32_t> group_of;  // (cols): the group of each column

  std::int64_t file_bytes() const {
    return static_cast<std::int64_t>(code_tensor.bytes + zero_tensor.bytes + scale_tensor.bytes);
  }
};

/// The integers of rows first .. first + 15, 0..2^bits - 1; 0 for rows past the matrix.
/// q: (16, cols).
void read_codes(const IntegerMatrix& matrix, std::int64_t first, std::span<std::uint8_t> q);

/// Their zero points, in the same numbers. zeros: (groups, 16).
void read_zeros(const IntegerMatrix& matrix, std::int64_t first, std::span<std::uint8_t> zeros);

/// Their scales; 0 for rows past the matrix. scales: (groups, 16).
void read_scales(const IntegerMatrix& matrix, std::int64_t first, std::span<float> scales);

/// (q - zero) * scale of column `column` in float32, of a matrix with Codes::kGptq or kPlanes, in
/// which the rows of a column lie side by side. out: (rows).
void dequantize_column(const IntegerMatrix& matrix, std::int64_t column, std::span<float> out);

}  // namespace nibble
