// A norm with its parameters (ops/row_norm.h says what it computes).
#pragma once

#include <cstdint>
#include <vector>

#include "nibble/ops/compute.h"
#include "nibble/ops/row_norm.h"

namespace nibble {

struct Norm {
  NormKind kind = NormKind::kRms;
  std::vector<float> weight;  // (n)
  std::vector<float> bias;    // (n), of kLayer only
  float eps = 1e-5f;

  /// What matmul() takes to normalize its input itself.
  RowNorm row_norm() const { return {kind, {weight.data(), bias.data(), eps}}; }
  /// x, out: (rows, n); out may be x.
  void apply(Compute& compute, const float* x, std::int64_t rows, float* out) const;
  /// The same on the calling thread.
  void apply_here(const KernelSet& kernels, const float* x, std::int64_t rows, float* out) const;
};

}  // namespace nibble
