// What there is to know of a weight format, in one place: its name, which matrices can have it, the
// arrays that one lies in and what they are called in a file, and how rows get in and out of them.
// A new format is a file that fills in one WeightCodec, a line in weight_codec.cpp and kernels
// (CONTRIBUTING.md).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <vector>

#include "nibble/core/dtype.h"
#include "nibble/weights/random_bits.h"
#include "nibble/weights/weight_view.h"

namespace nibble {

/// Rows that lie in one block in the packed formats.
inline constexpr std::int64_t kRowBlock = 16;

// What the tensors of a packed layer are called behind its name (docs/formats.md).
inline constexpr const char* kCodesSuffix = ".weight_packed";
inline constexpr const char* kScalesSuffix = ".weight_scale";
inline constexpr const char* kZerosSuffix = ".weight_zero_point";

/// One of the arrays of a matrix: blocks of rows, one after the other.
struct PartLayout {
  const char* suffix = nullptr;  // of its tensor's name
  DType dtype = DType::kU8;
  std::array<std::int64_t, 2> block_shape = {};  // of one block; 0 where there is one dimension

  std::int64_t block_bytes() const;
  /// The shape of a tensor of so many blocks.
  std::vector<std::int64_t> tensor_shape(std::int64_t blocks) const;
};

/// The arrays of a format, in the order of WeightView::parts. (A vector would allocate, and decode
/// asks for sizes.)
class PartLayouts {
 public:
  PartLayouts(std::initializer_list<PartLayout> parts);

  std::size_t size() const { return size_; }
  const PartLayout& operator[](std::size_t i) const { return parts_[i]; }
  const PartLayout* begin() const { return parts_.data(); }
  const PartLayout* end() const { return parts_.data() + size_; }

 private:
  std::array<PartLayout, kWeightParts> parts_;
  std::size_t size_;
};

/// Sixteen rows of integers with a scale and a zero point a group: w' = (q - zero) * scale in
/// float32. A row that is one group has groups = 1. Rows past the matrix stand for zeros.
struct IntegerBlock {
  IntegerBlock(std::int64_t n_cols, std::int64_t n_groups);

  std::int64_t cols;
  std::int64_t groups;              // divides cols
  std::vector<std::uint8_t> q;      // (16, cols)
  std::vector<std::uint8_t> zeros;  // (groups, 16)
  std::vector<float> scales;        // (groups, 16)
};

/// Columns begin .. begin + cols of the 16 rows from 16 * block on. `begin` is a multiple of
/// kColumnRun, and cols is one too unless they are the last.
struct BlockColumns {
  std::int64_t block;
  std::int64_t begin;
  std::int64_t cols;
};
inline constexpr std::int64_t kColumnRun = 256;

/// The bytes of one block in each part; none for the parts that the format has not.
using BlockSpans = std::array<std::span<std::byte>, kWeightParts>;

/// A block of a part to be made up: of a matrix of random weights.
struct RandomBlock {
  std::size_t part;
  std::int64_t rows;  // of the matrix that are in the block; others are zeros
  float deviation;    // standard deviation that weights are to have, about
};

struct WeightCodec {
  WeightFormat format;
  const char* name;         // "w4"
  int bits;                 // of an element or integer
  std::int64_t block_rows;  // rows of a block: kRowBlock, or 1 where the matrix is row-major
  /// Columns that may share a scale, the most first; empty where there are no groups.
  std::span<const int> group_sizes;
  std::int64_t max_cols;  // 0: any number
  /// The type of ggml's whose blocks hold the weights' integers as they are.
  DType ggml_type;

  PartLayouts (*parts)(const WeightLayout& layout);

  /// Weights as float32, exactly what they are defined as: element (c, r) at out[16 c + r], r being
  /// the row within the 16; rows past the matrix are zeros. Allocates nothing.
  void (*dequantize)(const WeightView& view, const BlockColumns& columns, float* out);

  // Of the formats that Nibble's checkpoints have; null for others. Scales must be numbers of the
  // layout's scale type.
  int since_version;  // of the checkpoints' layout: before, the format lay otherwise or was not
  void (*pack)(const WeightLayout& layout, const IntegerBlock& from, const BlockSpans& out);
  void (*unpack)(const WeightView& view, std::int64_t block, IntegerBlock& out);
  void (*fill_random)(const WeightLayout& layout, const RandomBlock& block, RandomBits& random,
                      std::span<std::byte> out);

  bool has_groups() const { return !group_sizes.empty(); }
};

const WeightCodec& codec_of(WeightFormat format);

/// The codecs of the formats that Nibble's checkpoints have, by bits.
std::vector<const WeightCodec*> checkpoint_codecs();

/// That with integers of `bits` bits; null if there is none.
const WeightCodec* find_checkpoint_codec(int bits);

/// Blocks of rows of a matrix; the last may have fewer.
std::int64_t block_count(const WeightLayout& layout);

/// Groups of a row: 1 where it is one group.
std::int64_t group_count(const WeightLayout& layout);

/// Bytes of all parts together.
std::int64_t weight_bytes(const WeightLayout& layout);

/// Bits a weight costs when read, scales and zero points included: 16 for bf16, 4.15625 at w4 g128.
double bits_per_weight(const WeightLayout& layout);

}  // namespace nibble
