#include "nibble/layers/norm.h"

#include "nibble/ops/profiler.h"
#include "nibble/ops/rowwise.h"

namespace nibble {

void Norm::apply(Compute& compute, const float* x, std::int64_t rows, float* out) const {
  const ProfileScope scope(compute, "norm");
  const auto n = static_cast<std::int64_t>(weight.size());
  for_each_row(compute, rows, [&](std::int64_t row) {
    apply_here(compute.kernels(), x + row * n, 1, out + row * n);
  });
}

void Norm::apply_here(const KernelSet& kernels, const float* x, std::int64_t rows,
                      float* out) const {
  const auto n = static_cast<std::int64_t>(weight.size());
  const RowNorm norm = row_norm();
  for (std::int64_t row = 0; row < rows; ++row, x += n, out += n) {
    normalize_row(kernels, norm, x, n, out);
  }
}

}  // namespace nibble
