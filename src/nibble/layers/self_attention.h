// Multi-head attention with grouped KV heads (Ainslie et al. 2023) and rotary positions.
#pragma once

#include <cstdint>

#include "nibble/layers/kv_cache.h"
#include "nibble/layers/linear.h"
#include "nibble/layers/rope.h"
#include "nibble/ops/attention.h"

namespace nibble {

struct SelfAttention {
  Linear q;  // (n_heads * head_dim, hidden)
  Linear k;  // (n_kv_heads * head_dim, hidden)
  Linear v;  // (n_kv_heads * head_dim, hidden)
  Linear o;  // (hidden, n_heads * head_dim)
  AttentionShape shape{};

  /// Adds the attention's output for x to `out`, both (tokens, hidden), of the positions from
  /// cache.length() on, for which `rope` is prepared. Stores their keys and values as those of
  /// layer `layer`. `scratch` grows to what is needed.
  void add_to(Compute& compute, const float* x, std::int64_t tokens, const Rope& rope,
              KvCache& cache, std::int64_t layer, Buffer& scratch, float* out) const;

 private:
  struct Projections {
    float* queries;  // (tokens, n_heads * head_dim)
    float* keys;     // (tokens, n_kv_heads * head_dim)
    float* values;   // (tokens, n_kv_heads * head_dim)
  };
  void rotate_and_store(Compute& compute, std::int64_t tokens, const Rope& rope, KvCache& cache,
                        std::int64_t layer, const Projections& projected) const;
};

}  // namespace nibble
