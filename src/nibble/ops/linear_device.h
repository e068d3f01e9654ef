// All linear layers are computed by a device, which Compute holds: the kernels of this CPU
// (ops/cpu_device.h), or another arithmetic in their place. It gets whole matrix products, those
// that share an input together, with all that follows them, so that it may fuse what it can; one
// that cannot is a ProductDevice (ops/product_device.h).
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "nibble/ops/activation_type.h"
#include "nibble/ops/compute.h"
#include "nibble/ops/input_rows.h"
#include "nibble/ops/row_norm.h"
#include "nibble/weights/weight_view.h"

namespace nibble {

/// What all products of a call take, the rows of x being normalized first if there is a norm.
struct MatmulInput {
  const float* x;  // (tokens, in features), the same of every layer
  std::int64_t tokens;
  const RowNorm* norm = nullptr;
};

/// One product of the call: out[t, row] = bias[row] + sum over c of x[t, c] * weight[row, c].
struct MatmulCall {
  const WeightView* weight;                   // (rows, cols)
  float* out;                                 // (tokens, rows)
  const float* bias = nullptr;                // (rows), or none
  bool adds = false;                          // adds to what is in out
  std::optional<Activation> activation = {};  // what the product with its bias goes through
  const InputOrder* order = nullptr;          // of the weight's columns; none: the features' own
  ActivationType activations = ActivationType::kBF16;  // what the input is rounded to for it
};

/// The functions get at least one token and one layer, weights with as many columns as x has, and
/// x in the order of their columns: `order` is none of a device's business. `activations` is what
/// the layer was made for: a device with an arithmetic of its own has its own rounding. Results
/// must not depend on the number of threads. A function that throws may leave anything in `out`.
class LinearDevice {
 public:
  virtual ~LinearDevice() = default;
  /// matmul() of ops/matmul.h.
  virtual void multiply(Compute& compute, const MatmulInput& input,
                        std::span<const MatmulCall> calls) = 0;
  /// gated_matmul() of ops/matmul.h.
  virtual void multiply_gated(Compute& compute, const MatmulInput& input, const MatmulCall& gate,
                              const MatmulCall& up, float* out) = 0;
};

}  // namespace nibble
