// What a kernel gets to see of a weight matrix: its format, shape and where its parts lie.
// Plain data, no inline functions: kernel files compiled for one instruction set include this.
#pragma once

#include <cstdint>

#include "nibble/core/bfloat16.h"

namespace nibble {

/// How the weights of one matrix are stored.
enum class WeightFormat : std::uint8_t {
  kF32,   // row-major (rows, cols)
  kF16,   // "
  kBF16,  // "
  kW4,    // PackedGroup, 4 bits (weights/packed_group.h)
  kW3,    // PackedGroup, 3 bits
  kW8,    // Int8PerChannel (weights/int8_per_channel.h)
};
inline constexpr int kWeightFormats = 6;

/// A weight matrix (rows = out_features, cols = in_features) that somebody else owns.
struct WeightView {
  WeightFormat format = WeightFormat::kBF16;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  const void* data = nullptr;  // the elements, or the packed integers
  // Of PackedGroup only:
  int group_size = 0;                   // consecutive columns that share a scale: 32, 64 or 128
  const BFloat16* scales = nullptr;     // (row blocks, groups, 16), or null, and then f16_scales
  const std::uint8_t* zeros = nullptr;  // (row blocks, groups, 2 * bits): 16 zero points packed
  // Of Int8PerChannel only:
  const float* row_scales = nullptr;  // (row blocks, 16)
  // Of PackedGroup again, in place of `scales`: what other tools' checkpoints hold.
  const Float16* f16_scales = nullptr;  // (row blocks, groups, 16)
};

}  // namespace nibble
