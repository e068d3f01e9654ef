// The rows that go into linear layers, before they are rounded: normalized, and in the order that
// the columns of a weight are in.
#pragma once

#include <cstdint>
#include <vector>

#include "nibble/ops/compute.h"

namespace nibble {

struct MatmulInput;

/// Input features in another order, as some checkpoints have the columns of their weights.
struct InputOrder {
  std::int64_t in_features = 0;
  std::vector<std::int32_t> columns;  // (cols): the feature that each column multiplies, -1: none

  bool operator==(const InputOrder&) const = default;
};

/// The input, (tokens, features), behind its norm: itself, or rows in `buffer`.
MatmulInput normalized(Compute& compute, const MatmulInput& input, std::int64_t features,
                       Buffer& buffer);

/// The input, (tokens, in features), as columns in this order want it: normalized and put in order,
/// (tokens, cols), in a buffer of `compute` that the next call overwrites.
MatmulInput put_in_order(Compute& compute, const InputOrder& order, const MatmulInput& input);

}  // namespace nibble
