// What one token of decode reads and computes.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "nibble/models/checkpoint.h"

namespace nibble {

/// A linear layer's weight as it lies in memory once it is loaded.
struct LinearCost {
  LinearSpec linear;
  WeightFormat format;
  double bytes;  // scales and zero points included

  double weights() const {
    return static_cast<double>(linear.out) * static_cast<double>(linear.in);
  }
  /// Of one token: 2 a multiply-add.
  double operations() const { return 2 * weights(); }
};

/// One layer, packed as `layout` says or dense.
LinearCost linear_cost(const LinearSpec& linear, const std::optional<WeightLayout>& layout,
                       DType dtype);

/// Every linear layer of a checkpoint whose dense weights are computed in `dtype`, in the order of
/// the forward pass, the head last. Reads no weight (see Checkpoint::layout_of).
std::vector<LinearCost> linear_costs(const Checkpoint& checkpoint, DType dtype);

struct TokenCost {
  double bytes = 0;                        // read: all linear layers and the head
  double weights = 0;                      // "
  double operations = 0;                   // of the matrix products, 2 a multiply-add
  double attention_operations = 0;         // for each position in the context
  std::int64_t kv_bytes_per_position = 0;  // of a bf16 cache; read for each position as well

  double bits_per_weight() const { return 8 * bytes / weights; }
};

TokenCost token_cost(const ModelSpec& spec, std::span<const LinearCost> linears);
TokenCost token_cost(const Checkpoint& checkpoint, DType dtype);

}  // namespace nibble
