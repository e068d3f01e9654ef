#include "nibble/layers/mlp.h"

#include "nibble/ops/rowwise.h"

namespace nibble {

void GatedMlp::apply(Compute& compute, const float* x, std::int64_t tokens, Buffer& scratch,
                     float* out) const {
  const std::int64_t width = gate.out_features();
  float* gated = scratch.as<float>(static_cast<std::size_t>(2 * tokens * width));
  float* upped = gated + tokens * width;
  const LinearCall calls[] = {{&gate, gated}, {&up, upped}};
  apply_linears(compute, x, tokens, calls);
  for_each_row(compute, tokens, [&](std::int64_t t) {
    compute.kernels().silu_mul(gated + t * width, upped + t * width, width, gated + t * width);
  });
  apply_linear(compute, down, gated, tokens, out);
}

}  // namespace nibble
