// The integers of a packed layer of a checkpoint, row by row.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nibble/models/checkpoint.h"
#include "nibble/weights/weight_codec.h"

namespace nibble::testing {

/// q as stored, (out, in): of 8 bits the code, 128 for 0.
struct PackedIntegers {
  std::vector<std::uint8_t> q;
  std::vector<std::uint8_t> zeros;  // (out, groups)
  std::vector<float> scales;        // (out, groups)
};

inline PackedIntegers packed_integers(const Checkpoint& checkpoint, const std::string& layer) {
  PackedIntegers all;
  for (const LinearSpec& linear : checkpoint.spec().linears()) {
    if (linear.name != layer) continue;
    const WeightView view = checkpoint.packed_weight(linear)->view();
    const std::int64_t groups = group_count(view);
    IntegerBlock block(view.cols, groups);
    for (std::int64_t row = 0; row < view.rows; ++row) {
      if (row % kRowBlock == 0) codec_of(view.format).unpack(view, row / kRowBlock, block);
      const std::int64_t r = row % kRowBlock;
      const auto q = block.q.begin() + r * view.cols;
      all.q.insert(all.q.end(), q, q + view.cols);
      for (std::int64_t g = 0; g < groups; ++g) {
        const auto at = static_cast<std::size_t>(g * kRowBlock + r);
        all.zeros.push_back(block.zeros[at]);
        all.scales.push_back(block.scales[at]);
      }
    }
  }
  return all;
}

}  // namespace nibble::testing
