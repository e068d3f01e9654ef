// The normalizations of a row: RMSNorm (Zhang & Sennrich 2019), x / sqrt(mean(x^2) + eps) * weight,
// and LayerNorm (Ba et al. 2016), (x - mean(x)) / sqrt(variance(x) + eps) * weight + bias.
#pragma once

#include <cstdint>

#include "nibble/kernels/kernel_set.h"

namespace nibble {

enum class NormKind { kRms, kLayer };

/// A norm whose parameters somebody else owns.
struct RowNorm {
  NormKind kind;
  NormWeights parameters;  // the bias of kLayer only
};

/// out = norm(x), both (n), on the calling thread; out may be x.
void normalize_row(const KernelSet& kernels, const RowNorm& norm, const float* x, std::int64_t n,
                   float* out);

}  // namespace nibble
