// Causal attention of new tokens over a KV cache, tiled, with an online softmax: no matrix of
// scores ever exists. Results do not depend on the number of threads: a long cache is cut into
// chunks of a fixed size whose partial results are combined in order.
#pragma once

#include <cstddef>
#include <cstdint>

#include "nibble/ops/compute.h"

namespace nibble {

/// How keys and values are kept. kInt8: each row of head_dim values as int8 with a scale, largest
/// |value| / 127.
enum class KvType { kBF16, kF32, kInt8 };

/// Bytes of one element, without the scales of kInt8.
constexpr std::int64_t kv_element_bytes(KvType type) {
  return type == KvType::kF32 ? 4 : type == KvType::kBF16 ? 2 : 1;
}

/// One layer of a KV cache, as the operator sees it.
struct KvLayerView {
  KvType type;
  std::int64_t capacity;    // positions from one KV head to the next
  const std::byte* keys;    // (n_kv_heads, capacity, head_dim)
  const std::byte* values;  // (n_kv_heads, capacity, head_dim)
  // Of kInt8, else null:
  const float* key_scales = nullptr;    // (n_kv_heads, capacity)
  const float* value_scales = nullptr;  // (n_kv_heads, capacity)
};

struct AttentionShape {
  std::int64_t n_heads;
  std::int64_t n_kv_heads;  // divides n_heads
  std::int64_t head_dim;
  /// Of a sliding window (Beltagy et al. 2020): how many positions a token sees, its own included;
  /// 0: all.
  std::int64_t window = 0;
};

/// Attention of `tokens` new tokens at positions start .. start + tokens - 1, whose keys and values
/// are in the cache already. q and out: (tokens, n_heads * head_dim). Scores are scaled by
/// 1 / sqrt(head_dim).
void attention(Compute& compute, const AttentionShape& shape, const KvLayerView& cache,
               const float* q, std::int64_t start, std::int64_t tokens, float* out);

}  // namespace nibble
