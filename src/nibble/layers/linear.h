// y = W x + b.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "nibble/ops/compute.h"
#include "nibble/weights/weight.h"

namespace nibble {

/// The input features in another order, as some checkpoints have the columns of their weights.
struct InputOrder {
  std::int64_t in_features = 0;
  std::vector<std::int32_t> columns;  // (cols): the feature that each column multiplies, -1: none

  bool operator==(const InputOrder&) const = default;
};

struct Linear {
  Weight weight;            // (out, in), or (out, order.columns)
  std::vector<float> bias;  // (out), or empty
  InputOrder order;         // empty where column i multiplies feature i

  bool is_reordered() const { return !order.columns.empty(); }
  std::int64_t out_features() const { return weight.view.rows; }
  std::int64_t in_features() const { return is_reordered() ? order.in_features : weight.view.cols; }
};

/// A layer and where its result goes, (tokens, out).
struct LinearCall {
  const Linear* layer;
  float* out;
};

/// Applies layers that share the input x, (tokens, in), all in one go.
void apply_linears(Compute& compute, const float* x, std::int64_t tokens,
                   std::span<const LinearCall> calls);

/// Applies one layer.
void apply_linear(Compute& compute, const Linear& layer, const float* x, std::int64_t tokens,
                  float* out);

/// Applies one layer and adds the result to `out`: a residual connection.
void add_linear(Compute& compute, const Linear& layer, const float* x, std::int64_t tokens,
                float* out);

/// out = silu(gate(x)) * up(x), the first half of a gated feed-forward network.
void apply_gated(Compute& compute, const Linear& gate, const Linear& up, const float* x,
                 std::int64_t tokens, float* out);

}  // namespace nibble
