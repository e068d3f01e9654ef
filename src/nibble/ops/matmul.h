// Matrix products of several weight matrices with one input: q, k and v, or gate and up, in one go.
// The norm before them is part of preparing the input; what follows each product (a bias, a
// residual sum, the gate's activation) is done by the thread that made it, while it is in its
// cache.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "nibble/ops/compute.h"
#include "nibble/ops/input_order.h"
#include "nibble/ops/row_norm.h"
#include "nibble/weights/weight_view.h"

namespace nibble {

/// What all products of a call take, the rows of x being normalized first if there is a norm.
struct MatmulInput {
  const float* x;  // (tokens, in features), the same of every layer
  std::int64_t tokens;
  const RowNorm* norm = nullptr;
  bool never_int8 = false;  // int8 is too coarse for it: bfloat16 is taken in its place
};

/// One product of the call: out[t, row] = bias[row] + sum over c of x[t, c] * weight[row, c].
struct MatmulCall {
  const WeightView* weight;                   // (rows, cols)
  float* out;                                 // (tokens, rows)
  const float* bias = nullptr;                // (rows), or none
  bool adds = false;                          // adds to what is in out
  std::optional<Activation> activation = {};  // what the product with its bias goes through
  const InputOrder* order = nullptr;          // of the weight's columns; none: the features' own
};

/// Runs all products over the same input, which is rounded as compute.activations() says (but for
/// never_int8); sums are float32. One barrier for all of those in a row whose columns are in the
/// same order. compute.input_observer() sees the input first.
void matmul(Compute& compute, const MatmulInput& input, std::span<const MatmulCall> calls);

/// The gated product of a feed-forward network (Shazeer 2020, SwiGLU): out = a(g) * u, g and u
/// being the results of `gate` and `up`, which have the same shape, and `a` the gate's activation;
/// their own `out` and `adds` are not used. out: (tokens, rows).
void gated_matmul(Compute& compute, const MatmulInput& input, const MatmulCall& gate,
                  const MatmulCall& up, float* out);

}  // namespace nibble
