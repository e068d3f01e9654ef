// The feed-forward network, gated (Shazeer 2020: SwiGLU, GeGLU) or plain:
// down(activation(gate(x)) * up(x)), or down(activation(up(x))).
#pragma once

#include <cstdint>
#include <optional>

#include "nibble/layers/linear.h"

namespace nibble {

struct Mlp {
  std::optional<Linear> gate;  // (intermediate, hidden), or none
  Linear up;                   // (intermediate, hidden)
  Linear down;                 // (hidden, intermediate)
  Activation activation = Activation::kSilu;

  /// What down takes for the input, (tokens, hidden): (tokens, intermediate), in `scratch`, which
  /// grows to what is needed.
  float* inner(Compute& compute, const MatmulInput& input, Buffer& scratch) const;
  /// Adds the network's output for the input to `out`, (tokens, hidden), which may be input.x.
  void add_to(Compute& compute, const MatmulInput& input, Buffer& scratch, float* out) const;
};

}  // namespace nibble
