#include "nibble/ops/row_norm.h"

namespace nibble {

void normalize_row(const KernelSet& kernels, const RowNorm& norm, const float* x, std::int64_t n,
                   float* out) {
  if (norm.kind == NormKind::kRms) {
    kernels.rms_norm(x, norm.weight, n, norm.eps, out);
  } else {
    kernels.layer_norm(x, {norm.weight, norm.bias, norm.eps}, n, out);
  }
}

}  // namespace nibble
