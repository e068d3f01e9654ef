// Matrix products of several weight matrices with one input, q, k and v, or gate and up, in one go,
// by the device that compute.device() is.
#pragma once

#include <span>

#include "nibble/ops/linear_device.h"

namespace nibble {

/// Runs all products over the same input, which is rounded for each as it says; sums are float32.
/// One barrier for all of those in a row whose columns are in the same order.
/// compute.input_observer() sees the input first.
void matmul(Compute& compute, const MatmulInput& input, std::span<const MatmulCall> calls);

/// The gated product of a feed-forward network (Shazeer 2020, SwiGLU): out = a(g) * u, g and u
/// being the results of `gate` and `up`, which have the same shape, and `a` the gate's activation;
/// their own `out` and `adds` are not used. out: (tokens, rows).
void gated_matmul(Compute& compute, const MatmulInput& input, const MatmulCall& gate,
                  const MatmulCall& up, float* out);

}  // namespace nibble
