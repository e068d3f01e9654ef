// The CPU's device with what is not to run as one taken apart: a norm before the products, and
// activations, gates and residual sums behind them, are operators of their own then, and products
// of one input run one after the other.
#pragma once

#include <span>

#include "nibble/core/buffer.h"
#include "nibble/ops/fusion.h"
#include "nibble/ops/linear_device.h"

namespace nibble {

class PlainDevice : public LinearDevice {
 public:
  explicit PlainDevice(const FusionSet& fused) : fused_(fused) {}

  void multiply(Compute& compute, const MatmulInput& input,
                std::span<const MatmulCall> calls) override;
  void multiply_gated(Compute& compute, const MatmulInput& input, const MatmulCall& gate,
                      const MatmulCall& up, float* out) override;

 private:
  MatmulInput prepare(Compute& compute, const MatmulInput& input, std::int64_t features);
  void multiply_one(Compute& compute, const MatmulInput& input, const MatmulCall& call);

  FusionSet fused_;
  Buffer normed_;   // (tokens, cols)
  Buffer results_;  // (tokens, rows) of what is not in its place yet
};

}  // namespace nibble
