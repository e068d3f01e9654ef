// The packed formats of 4 and 3 bits a weight: unsigned integers with a bfloat16 scale and an
// integer zero point for each group of consecutive columns of a row, w' = (q - zero) * scale. (What
// was repacked from other tools' checkpoints may have float16 scales.)
//
// Rows are taken in blocks of 16 (the last block is filled up with rows of zeros), because a
// 512-bit register holds 16 rows x 2 consecutive columns of bfloat16, the operand of VDPBF16PS. All
// integers of a block of rows come first column to last, so that a thread reads one sequential
// stream:
//
//   4 bits: a chunk of 8 columns is 64 bytes = 32 little-endian 16-bit lanes. Lane 2 r + p holds,
//           for row r of the block, column 2 j + p of the chunk in bits 4 j .. 4 j + 3, j = 0..3.
//   3 bits: a chunk of 32 columns is 192 bytes = three vectors of 64 bytes, which stand for four
//           whose bytes have six bits. Byte 4 r + 2 p + h of vector v = 0..3 holds, for row r of
//           the block and p, h of 0 and 1, column 8 v + 4 h + p of the chunk in bits 0 .. 2 and
//           column 8 v + 4 h + p + 2 in bits 3 .. 5. (So do the nibbles of 4 bits.) Bits 6 and 7 of
//           a byte of vector v = 0..2 are bits 2 v and 2 v + 1 of that byte of vector 3.
//
// Scales: (blocks, groups, 16) bfloat16. Zero points: (blocks, groups) units of 16 values of `bits`
// bits, row r of the block in bits bits * r .. of the unit read as one little-endian number.
#pragma once

#include <cstdint>
#include <span>

#include "nibble/weights/weight_codec.h"

namespace nibble {

/// The sizes of one packed matrix.
struct PackedGroup {
  int bits;           // 4 or 3
  int group_size;     // 32, 64 or 128; divides cols
  std::int64_t rows;  // out_features
  std::int64_t cols;  // in_features, a multiple of group_size

  std::int64_t row_blocks() const { return (rows + kRowBlock - 1) / kRowBlock; }
  std::int64_t groups() const { return cols / group_size; }
  /// Bytes of the integers, scales and zero points of one block of 16 rows.
  std::int64_t block_code_bytes() const { return kRowBlock * cols * bits / 8; }
  std::int64_t block_scale_bytes() const { return groups() * kRowBlock * 2; }
  std::int64_t block_zero_bytes() const { return groups() * 2 * bits; }
};

/// Packs the integers of one block of rows. `q`: (16, cols), values below 2^bits, rows past the
/// matrix zero. `out`: block_code_bytes() bytes, 64-byte alignment not needed.
void pack_codes(const PackedGroup& layout, std::span<const std::uint8_t> q,
                std::span<std::uint8_t> out);

/// The inverse of pack_codes.
void unpack_codes(const PackedGroup& layout, std::span<const std::uint8_t> codes,
                  std::span<std::uint8_t> q);

/// Packs the zero points of one block of rows. `zeros`: (groups, 16), values below 2^bits. `out`:
/// block_zero_bytes() bytes.
void pack_zeros(const PackedGroup& layout, std::span<const std::uint8_t> zeros,
                std::span<std::uint8_t> out);

/// The inverse of pack_zeros.
void unpack_zeros(const PackedGroup& layout, std::span<const std::uint8_t> packed,
                  std::span<std::uint8_t> zeros);

/// The sizes of a matrix of format kW4 or kW3.
PackedGroup packed_group_of(const WeightLayout& layout);

/// Scale `index` of a packed view, (row blocks, groups, 16) in one, whichever type it has.
float packed_scale(const WeightView& view, std::int64_t index);

}  // namespace nibble
