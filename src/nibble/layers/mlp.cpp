#include "nibble/layers/mlp.h"

#include "nibble/ops/profiler.h"

namespace nibble {

void GatedMlp::add_to(Compute& compute, const float* x, std::int64_t tokens, Buffer& scratch,
                      float* out) const {
  float* gated = scratch.as<float>(static_cast<std::size_t>(tokens * gate.out_features()));
  {
    const ProfileScope scope(compute, "gate up");
    apply_gated(compute, gate, up, x, tokens, gated);
  }
  const ProfileScope scope(compute, "down");
  add_linear(compute, down, gated, tokens, out);
}

}  // namespace nibble
