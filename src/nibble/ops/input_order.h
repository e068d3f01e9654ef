// Input features in another order, as some checkpoints have the columns of their weights.
#pragma once

#include <cstdint>
#include <vector>

#include "nibble/ops/compute.h"

namespace nibble {

struct MatmulInput;

struct InputOrder {
  std::int64_t in_features = 0;
  std::vector<std::int32_t> columns;  // (cols): the feature that each column multiplies, -1: none

  bool operator==(const InputOrder&) const = default;
};

/// The input, (tokens, in features), as columns in this order want it: normalized and put in order,
/// (tokens, cols), in a buffer that the next call overwrites.
MatmulInput put_in_order(Compute& compute, const InputOrder& order, const MatmulInput& input);

}  // namespace nibble
