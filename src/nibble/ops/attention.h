// Causal attention of new tokens over a KV cache, tiled, with an online softmax: no matrix of
// scores ever exists. Results do not depend on the number of threads: a long cache is cut into
// chunks of a fixed size whose partial results are combined in order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "nibble/core/page_pool.h"
#include "nibble/ops/compute.h"

namespace nibble {

/// How keys and values are kept. kInt8: each row of head_dim values as int8 with a scale, largest
/// |value| / 127.
enum class KvType { kBF16, kF32, kInt8 };

/// Bytes of one element, without the scales of kInt8.
constexpr std::int64_t kv_element_bytes(KvType type) {
  return type == KvType::kF32 ? 4 : type == KvType::kBF16 ? 2 : 1;
}

/// Positions of a page of a KV cache. A page is what a kernel takes at once: a smaller one would
/// have to be put together with its neighbours first, or the sums be split elsewhere.
inline constexpr std::int64_t kKvPagePositions = kAttentionMaxPositions;

/// The new tokens of a sequence, at positions start .. start + tokens - 1, and the pages of all its
/// positions, theirs too.
struct KvSequence {
  std::span<const Page> pages;  // kKvPagePositions each
  std::int64_t start;
  std::int64_t tokens;
};

/// One layer of the KV caches of some sequences. Each page has it at the same offsets, in bytes.
struct KvLayerView {
  KvType type;
  std::int64_t keys;    // (n_kv_heads, kKvPagePositions, head_dim)
  std::int64_t values;  // (n_kv_heads, kKvPagePositions, head_dim)
  // Of kInt8:
  std::int64_t key_scales;    // (n_kv_heads, kKvPagePositions) float32
  std::int64_t value_scales;  // "
  std::span<const KvSequence> sequences = {};
};

struct AttentionShape {
  std::int64_t n_heads;
  std::int64_t n_kv_heads;  // divides n_heads
  std::int64_t head_dim;
  /// Of a sliding window (Beltagy et al. 2020): how many positions a token sees, its own included;
  /// 0: all.
  std::int64_t window = 0;
};

/// Attention of the sequences' new tokens, whose keys and values are in the cache already. q and
/// out: (tokens of all sequences, one after the other, n_heads * head_dim). Scores are scaled by
/// 1 / sqrt(head_dim). What a sequence gets does not depend on the others. Where
/// compute.fusion() has no attention, as plain_attention() does it.
void attention(Compute& compute, const AttentionShape& shape, const KvLayerView& cache,
               const float* q, float* out);

}  // namespace nibble
