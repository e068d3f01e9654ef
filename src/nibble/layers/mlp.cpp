#include "nibble/layers/mlp.h"

#include "nibble/ops/profiler.h"

namespace nibble {

float* Mlp::inner(Compute& compute, const MatmulInput& input, Buffer& scratch) const {
  auto* out = scratch.as<float>(static_cast<std::size_t>(input.tokens * up.out_features()));
  const ProfileScope scope(compute, gate ? "gate up" : "up");
  if (gate) {
    apply_gated(compute, {*gate, up, activation}, input, out);
  } else {
    apply_activated(compute, {up, activation}, input, out);
  }
  return out;
}

void Mlp::add_to(Compute& compute, const MatmulInput& input, Buffer& scratch, float* out) const {
  const float* x = inner(compute, input, scratch);
  const ProfileScope scope(compute, "down");
  add_linear(compute, down, {.x = x, .tokens = input.tokens}, out);
}

}  // namespace nibble
