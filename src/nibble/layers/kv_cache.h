// The keys and values of every position seen so far, for all layers. Memory is taken page by page
// as positions are filled, so that the capacity may be a model's whole context at no cost.
#pragma once

#include <cstdint>

#include "nibble/core/buffer.h"
#include "nibble/ops/attention.h"

namespace nibble {

struct KvCacheShape {
  std::int64_t n_layers;
  std::int64_t n_kv_heads;
  std::int64_t head_dim;
  std::int64_t capacity;  // positions
};

class KvCache {
 public:
  KvCache(const KvCacheShape& shape, KvType type);

  std::int64_t capacity() const { return shape_.capacity; }
  /// Positions held.
  std::int64_t length() const { return length_; }
  /// Forgets all positions from `length` on.
  void truncate(std::int64_t length);
  /// Counts `tokens` more positions as held; their keys and values were stored for every layer.
  void advance(std::int64_t tokens);

  /// Puts keys and values, (tokens, n_kv_heads * head_dim) each, at the positions from length() on.
  void store(Compute& compute, std::int64_t layer, const float* keys, const float* values,
             std::int64_t tokens);

  KvLayerView layer(std::int64_t layer) const;
  /// Bytes one position takes in all layers, with the scales of int8.
  std::int64_t bytes_per_position() const;

 private:
  /// Rows of head_dim values: one a layer, keys or values, KV head and position.
  std::int64_t rows_per_part() const { return shape_.n_kv_heads * shape_.capacity; }
  std::byte* elements(std::int64_t layer, bool values) const;
  float* scales(std::int64_t layer, bool values) const;
  void store_row(const KernelSet& kernels, const float* source, std::byte* target,
                 float* scale) const;

  KvCacheShape shape_;
  KvType type_;
  std::int64_t length_ = 0;
  Buffer elements_;  // (n_layers, keys or values, n_kv_heads, capacity, head_dim)
  Buffer scales_;    // (n_layers, keys or values, n_kv_heads, capacity) float32; of int8 only
};

}  // namespace nibble
