// Matrix products of several weight matrices with one input: q, k and v, or gate and up, in one go.
#pragma once

#include <cstdint>
#include <span>

#include "nibble/ops/compute.h"
#include "nibble/weights/weight_view.h"

namespace nibble {

/// One product of the call: out[t, row] = sum over c of x[t, c] * weight[row, c].
struct MatmulCall {
  const WeightView* weight;  // (rows, cols)
  float* out;                // (tokens, rows)
};

/// Runs all products over the same x, (tokens, cols) float32, cols being that of every weight. x is
/// rounded as compute.activations() says; sums are float32. One barrier for all of them.
void matmul(Compute& compute, const float* x, std::int64_t tokens,
            std::span<const MatmulCall> calls);

}  // namespace nibble
