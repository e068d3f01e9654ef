// The normalizations of a row: RMSNorm (Zhang & Sennrich 2019), x / sqrt(mean(x^2) + eps) * weight,
// and LayerNorm (Ba et al. 2016), (x - mean(x)) / sqrt(variance(x) + eps) * weight + bias.
#pragma once

#include <cstdint>
#include <vector>

#include "nibble/ops/compute.h"

namespace nibble {

enum class NormKind { kRms, kLayer };

struct Norm {
  NormKind kind = NormKind::kRms;
  std::vector<float> weight;  // (n)
  std::vector<float> bias;    // (n), of kLayer only
  float eps = 1e-5f;

  /// x, out: (rows, n); out may be x.
  void apply(Compute& compute, const float* x, std::int64_t rows, float* out) const;
  /// The same on the calling thread.
  void apply_here(const KernelSet& kernels, const float* x, std::int64_t rows, float* out) const;
};

}  // namespace nibble
