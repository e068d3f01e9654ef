// Multi-head attention with grouped KV heads (Ainslie et al. 2023), with rotary positions or none,
// over all positions or a sliding window, queries and keys normalized or not.
#pragma once

#include <cstdint>
#include <optional>

#include "nibble/layers/linear.h"
#include "nibble/layers/norm.h"
#include "nibble/layers/pass.h"
#include "nibble/ops/attention.h"

namespace nibble {

struct SelfAttention {
  Linear q;                    // (n_heads * head_dim, hidden)
  Linear k;                    // (n_kv_heads * head_dim, hidden)
  Linear v;                    // (n_kv_heads * head_dim, hidden)
  Linear o;                    // (hidden, n_heads * head_dim)
  std::optional<Norm> q_norm;  // (head_dim), of each head of the queries, or none
  std::optional<Norm> k_norm;  // (head_dim), of the keys
  AttentionShape shape{};

  /// What o takes for the input, (rows of the pass, hidden), valid as long as the pass's scratch:
  /// (rows, n_heads * head_dim). Stores keys and values as those of layer `layer`.
  float* attend(Compute& compute, const MatmulInput& input, Pass& pass, std::int64_t layer) const;
  /// Adds the attention's output for the input to `out`, (rows, hidden), which may be input.x.
  void add_to(Compute& compute, const MatmulInput& input, Pass& pass, std::int64_t layer,
              float* out) const;

 private:
  struct Projections {
    float* queries;  // (rows, n_heads * head_dim)
    float* keys;     // (rows, n_kv_heads * head_dim)
    float* values;   // (rows, n_kv_heads * head_dim)
  };
  /// Normalizes and rotates what there is to be, and stores keys and values.
  void rotate_and_store(Compute& compute, const Pass& pass, std::int64_t layer,
                        const Projections& projected) const;
};

}  // namespace nibble
