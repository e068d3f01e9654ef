// The format of 8 bits a weight (w8): signed integers with one float32 scale for each row (output
// channel), w' = q * scale, q in -127..127.
//
// Rows are taken in blocks of 16 as in packed_group.h. A chunk of 4 columns is 64 bytes = 16
// little-endian 32-bit lanes; lane r holds, for row r of the block, q + 128 of columns 0, 2, 1, 3
// of the chunk in its bytes, so that 128 serves as a zero point, and a 16-bit lane is four nibbles
// of two columns that are two apart: VPERMW turns each nibble into bfloat16, and pairs of
// neighbouring columns stand together as VDPBF16PS wants them. Columns past the matrix hold 128,
// which stands for 0; rows past it too.
//
// Scales: (blocks, 16) float32, 0 for rows past the matrix.
#pragma once

#include <cstdint>
#include <span>

#include "nibble/weights/weight_codec.h"

namespace nibble {

/// Columns of a matrix at the most: a row's sum of products with int8 activations, 127 * 127 each,
/// fits an int32.
inline constexpr std::int64_t kMaxInt8Cols = 1 << 17;

/// The sizes of one w8 matrix.
struct Int8PerChannel {
  std::int64_t rows;  // out_features
  std::int64_t cols;  // in_features, at most kMaxInt8Cols

  std::int64_t row_blocks() const { return (rows + kRowBlock - 1) / kRowBlock; }
  std::int64_t chunks() const { return (cols + 3) / 4; }
  /// Bytes of the integers and scales of one block of 16 rows.
  std::int64_t block_code_bytes() const { return chunks() * 64; }
  std::int64_t block_scale_bytes() const { return kRowBlock * 4; }
};

/// Packs the integers of one block of rows. `q`: (16, cols), -127..127, rows past the matrix zero.
/// `out`: block_code_bytes() bytes, 64-byte alignment not needed.
void pack_int8(const Int8PerChannel& layout, std::span<const std::int8_t> q,
               std::span<std::uint8_t> out);

/// One value out of a packed block: what pack_int8 took from q[row * cols + col].
int int8_at(const std::uint8_t* block, std::int64_t row, std::int64_t col);

/// The sizes of a matrix of format kW8.
Int8PerChannel int8_per_channel_of(const WeightLayout& layout);

}  // namespace nibble
