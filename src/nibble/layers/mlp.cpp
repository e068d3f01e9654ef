#include "nibble/layers/mlp.h"

#include "nibble/ops/profiler.h"

namespace nibble {

void Mlp::add_to(Compute& compute, const MatmulInput& input, Buffer& scratch, float* out) const {
  float* inner = scratch.as<float>(static_cast<std::size_t>(input.tokens * up.out_features()));
  {
    const ProfileScope scope(compute, gate ? "gate up" : "up");
    if (gate) {
      apply_gated(compute, {*gate, up, activation}, input, inner);
    } else {
      apply_activated(compute, {up, activation}, input, inner);
    }
  }
  const ProfileScope scope(compute, "down");
  add_linear(compute, down, {.x = inner, .tokens = input.tokens}, out);
}

}  // namespace nibble
