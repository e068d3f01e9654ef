#include "nibble/ops/row_norm.h"

namespace nibble {

void normalize_row(const KernelSet& kernels, const RowNorm& norm, const float* x, std::int64_t n,
                   float* out) {
  const NormWeights& parameters = norm.parameters;
  if (norm.kind == NormKind::kRms) {
    kernels.rms_norm(x, parameters.weight, n, parameters.eps, out);
  } else {
    kernels.layer_norm(x, parameters, n, out);
  }
}

}  // namespace nibble
