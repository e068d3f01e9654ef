// Attention and what comes back through it, with the matrices of scores whole, a head at a time.
#pragma once

#include <cstdint>

#include "nibble/core/buffer.h"
#include "nibble/ops/attention.h"
#include "nibble/ops/compute.h"

namespace nibble {

/// One sequence from its start: queries (tokens, n_heads * head_dim), keys and values (tokens,
/// n_kv_heads * head_dim), rotated where they are to be.
struct AttentionInputs {
  const float* q;
  const float* k;
  const float* v;
  std::int64_t tokens;
};

/// Gradients, which are overwritten.
struct AttentionGradients {
  float* q;
  float* k;
  float* v;
};

/// out: (tokens, n_heads * head_dim), as ops/attention.h in float32.
void attend(Compute& compute, const AttentionShape& shape, const AttentionInputs& inputs,
            float* out);

/// dout: the gradient of attend()'s result.
void attend_backward(Compute& compute, const AttentionShape& shape, const AttentionInputs& inputs,
                     const float* dout, const AttentionGradients& gradients);

}  // namespace nibble
