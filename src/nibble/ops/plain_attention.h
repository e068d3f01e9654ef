// Attention without tiles, what attention() does where its steps are not to run as one: for each
// token and head a row of scores over all positions that it sees, its softmax, and the sum of the
// values so weighted, in float32.
#pragma once

#include "nibble/ops/attention.h"

namespace nibble {

/// As attention(), within the rounding of its kernels.
void plain_attention(Compute& compute, const AttentionShape& shape, const KvLayerView& cache,
                     const float* q, float* out);

}  // namespace nibble
