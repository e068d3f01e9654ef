// Root mean square normalization (Zhang & Sennrich 2019): x / sqrt(mean(x^2) + eps) * weight.
#pragma once

#include <cstdint>
#include <vector>

#include "nibble/ops/compute.h"

namespace nibble {

struct RmsNorm {
  std::vector<float> weight;  // (hidden)
  float eps = 1e-5f;

  /// x, out: (tokens, hidden); out may be x.
  void apply(Compute& compute, const float* x, std::int64_t tokens, float* out) const;
};

}  // namespace nibble
