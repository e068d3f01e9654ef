// What a kernel gets to see of a weight matrix: its format, shape and where its parts lie.
// Plain data, no inline functions: kernel files compiled for one instruction set include this.
#pragma once

#include <cstddef>
#include <cstdint>

#include "nibble/core/bfloat16.h"

namespace nibble {

/// How the weights of one matrix are stored. What there is to know of each says its codec
/// (weights/weight_codec.h).
enum class WeightFormat : std::uint8_t {
  kF32,   // row-major (rows, cols)
  kF16,   // "
  kBF16,  // "
  kW4,    // 4 bits in groups (weights/packed_group.h)
  kW3,    // 3 bits in groups
  kW8,    // 8 bits (weights/int8_per_channel.h)
};
inline constexpr int kWeightFormats = 6;

/// What the scales of groups are stored as.
enum class ScaleType : std::uint8_t { kBF16, kF16 };

/// The format of a matrix with all that its size follows from.
struct WeightLayout {
  WeightFormat format = WeightFormat::kBF16;
  std::int64_t rows = 0;                    // out features
  std::int64_t cols = 0;                    // in features
  int group_size = 0;                       // consecutive columns that share a scale; 0: no groups
  ScaleType scale_type = ScaleType::kBF16;  // of groups
};

/// Arrays that a matrix lies in at the most.
inline constexpr std::size_t kWeightParts = 3;
// Which they are: the elements or integers, in groups or rows that have them the scales, and in
// groups the zero points.
inline constexpr std::size_t kCodesPart = 0;
inline constexpr std::size_t kScalesPart = 1;
inline constexpr std::size_t kZerosPart = 2;

/// A weight matrix that somebody else owns.
struct WeightView : WeightLayout {
  const void* parts[kWeightParts] = {};  // null for those that the format has not
};

}  // namespace nibble
