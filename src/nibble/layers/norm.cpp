#include "nibble/layers/norm.h"

#include "nibble/ops/profiler.h"
#include "nibble/ops/rowwise.h"

namespace nibble {

void RmsNorm::apply(Compute& compute, const float* x, std::int64_t tokens, float* out) const {
  const ProfileScope scope(compute, "norm");
  const auto hidden = static_cast<std::int64_t>(weight.size());
  for_each_row(compute, tokens, [&](std::int64_t t) {
    compute.kernels().rms_norm(x + t * hidden, weight.data(), hidden, eps, out + t * hidden);
  });
}

}  // namespace nibble
