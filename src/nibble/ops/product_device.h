// A device that is good for products only: the norm before them and the sums, activations and gates
// behind them are computed here, in float32 by the CPU's kernels.
#pragma once

#include <span>

#include "nibble/core/buffer.h"
#include "nibble/ops/linear_device.h"

namespace nibble {

/// What `call` wants done to its product, (tokens, rows): the activation, then the residual sum.
void finish_product(Compute& compute, const MatmulCall& call, float* product, std::int64_t tokens);

class ProductDevice : public LinearDevice {
 public:
  void multiply(Compute& compute, const MatmulInput& input,
                std::span<const MatmulCall> calls) final;
  void multiply_gated(Compute& compute, const MatmulInput& input, const MatmulCall& gate,
                      const MatmulCall& up, float* out) final;

 protected:
  /// Products with their biases: `input` has no norm, the calls neither add nor activate.
  virtual void products(Compute& compute, const MatmulInput& input,
                        std::span<const MatmulCall> calls) = 0;

 private:
  Buffer normed_;   // (tokens, cols)
  Buffer results_;  // (tokens, rows) of what does not go to `out` as it is, one after the other
};

}  // namespace nibble
