#include "nibble/layers/mlp.h"

#include "nibble/ops/profiler.h"

namespace nibble {

void Mlp::add_to(Compute& compute, const float* x, std::int64_t tokens, Buffer& scratch,
                 float* out) const {
  float* inner = scratch.as<float>(static_cast<std::size_t>(tokens * up.out_features()));
  {
    const ProfileScope scope(compute, gate ? "gate up" : "up");
    if (gate) {
      apply_gated(compute, {*gate, up, activation}, x, tokens, inner);
    } else {
      apply_activated(compute, {up, activation}, x, tokens, inner);
    }
  }
  const ProfileScope scope(compute, "down");
  add_linear(compute, down, inner, tokens, out);
}

}  // namespace nibble
