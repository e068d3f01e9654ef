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
//   3 bits: a chunk of 32 columns is 192 bytes = three vectors of 32 16-bit lanes. Vectors 0 and 1
//           hold the lower two bits of columns 0..15 and 16..31: lane 2 r + p, bits 2 j .. 2 j + 1,
//           column 16 v + 2 j + p, j = 0..7. Vector 2 holds the upper bits: of that column in lane
//           2 r + p, bit 4 v + j % 4 + 8 (j / 4), so that two columns that are a byte apart in one
//           vector are a byte apart in the other.
//
// Scales: (blocks, groups, 16) bfloat16. Zero points: (blocks, groups) units of 16 values of `bits`
// bits, row r of the block in bits bits * r .. of the unit read as one little-endian number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "nibble/weights/weight_view.h"

namespace nibble {

inline constexpr std::int64_t kRowBlock = 16;

/// The sizes of one packed matrix.
struct PackedGroup {
  int bits;           // 4 or 3
  int group_size;     // 32, 64 or 128; divides cols
  std::int64_t rows;  // out_features
  std::int64_t cols;  // in_features, a multiple of group_size

  std::int64_t row_blocks() const { return (rows + kRowBlock - 1) / kRowBlock; }
  std::int64_t groups() const { return cols / group_size; }
  /// Bytes of the integers, scales and zero points of one block of 16 rows ...
  std::int64_t block_code_bytes() const { return kRowBlock * cols * bits / 8; }
  std::int64_t block_scale_bytes() const { return groups() * kRowBlock * 2; }
  std::int64_t block_zero_bytes() const { return groups() * 2 * bits; }
  /// ... and of all of them.
  std::int64_t code_bytes() const { return row_blocks() * block_code_bytes(); }
  std::int64_t scale_bytes() const { return row_blocks() * block_scale_bytes(); }
  std::int64_t zero_bytes() const { return row_blocks() * block_zero_bytes(); }
  std::int64_t total_bytes() const { return code_bytes() + scale_bytes() + zero_bytes(); }
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

/// The layout of a packed view (format kW4 or kW3).
PackedGroup packed_group_of(const WeightView& view);

/// Scale `index` of a packed view, (row blocks, groups, 16) in one, whichever type it has.
float packed_scale(const WeightView& view, std::int64_t index);

/// Row `row` of any weight matrix as float32: dense formats widened, packed ones as (q - zero) *
/// scale in float32 (w8: q * scale). `out`: (cols).
void weight_row(const WeightView& view, std::int64_t row, std::span<float> out);

/// Bits a weight costs when read, scales and zero points included: 16 for bf16, 4.15625 at w4 g128.
double bits_per_weight(const WeightView& view);

/// "f32", "f16", "bf16", "w4", "w3" or "w8".
const char* weight_format_name(WeightFormat format);

}  // namespace nibble
