// y = W x + b.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "nibble/ops/compute.h"
#include "nibble/ops/matmul.h"
#include "nibble/weights/weight.h"

namespace nibble {

struct Linear {
  Weight weight;                                       // (out, in), or (out, order.columns)
  std::vector<float> bias;                             // (out), or empty
  InputOrder order;                                    // empty where column i multiplies feature i
  ActivationType activations = ActivationType::kBF16;  // what the input is rounded to

  bool is_reordered() const { return !order.columns.empty(); }
  std::int64_t out_features() const { return weight.view.rows; }
  std::int64_t in_features() const { return is_reordered() ? order.in_features : weight.view.cols; }
};

/// A layer and where its result goes, (tokens, out).
struct LinearCall {
  const Linear* layer;
  float* out;
};

/// Applies layers that share the input, (tokens, in), all in one go.
void apply_linears(Compute& compute, const MatmulInput& input, std::span<const LinearCall> calls);

/// Applies one layer.
void apply_linear(Compute& compute, const Linear& layer, const MatmulInput& input, float* out);

/// Applies one layer and adds the result to `out`: a residual connection.
void add_linear(Compute& compute, const Linear& layer, const MatmulInput& input, float* out);

/// The first half of a feed-forward network: activation(layer(x)).
struct ActivatedLayer {
  const Linear& layer;
  Activation activation;
};
void apply_activated(Compute& compute, const ActivatedLayer& layer, const MatmulInput& input,
                     float* out);

/// The same of a gated one: activation(gate(x)) * up(x).
struct GatedLayer {
  const Linear& gate;
  const Linear& up;
  Activation activation;
};
void apply_gated(Compute& compute, const GatedLayer& layer, const MatmulInput& input, float* out);

}  // namespace nibble
