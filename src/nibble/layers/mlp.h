// The gated feed-forward network (Shazeer 2020, SwiGLU): down(silu(gate(x)) * up(x)).
#pragma once

#include <cstdint>

#include "nibble/layers/linear.h"

namespace nibble {

struct GatedMlp {
  Linear gate;  // (intermediate, hidden)
  Linear up;    // (intermediate, hidden)
  Linear down;  // (hidden, intermediate)

  /// Adds the network's output for x to `out`, both (tokens, hidden). `scratch` grows to what is
  /// needed.
  void add_to(Compute& compute, const float* x, std::int64_t tokens, Buffer& scratch,
              float* out) const;
};

}  // namespace nibble
