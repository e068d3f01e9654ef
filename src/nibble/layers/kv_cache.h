// The keys and values of every position of a sequence seen so far, for all layers, in pages that
// the sequences of a pool share. Pages are taken as positions are filled, so that the capacity may
// be a model's whole context at no cost.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "nibble/core/page_pool.h"
#include "nibble/ops/attention.h"

namespace nibble {

struct KvCacheShape {
  std::int64_t n_layers;
  std::int64_t n_kv_heads;
  std::int64_t head_dim;
  std::int64_t capacity;  // positions: of one sequence, or of all in a pool
};

/// The pages of some sequences and what is in them: of each layer its keys and its values,
/// (n_kv_heads, kKvPagePositions, head_dim) each, and of int8 their scales likewise. All layers of
/// a position are in one page, as they are filled, kept and given up together: a sequence has one
/// table of pages, which never changes within a pass.
class KvPool {
 public:
  /// Pages for `shape.capacity` positions. Throws Error if they cannot be addressed.
  KvPool(const KvCacheShape& shape, KvType type);

  const KvCacheShape& shape() const { return shape_; }
  KvType type() const { return type_; }
  PagePool& pages() { return pages_; }
  /// Bytes one position takes in all layers, with the scales of int8.
  std::int64_t bytes_per_position() const;

  /// Where pages have a layer; the sequences are left to the caller.
  KvLayerView layer(std::int64_t layer) const;
  /// Puts keys and values, (n_kv_heads * head_dim) each, at a position of a page.
  void store(const KernelSet& kernels, std::int64_t layer, std::byte* page, std::int64_t position,
             std::span<const float* const, 2> keys_and_values) const;
  /// A page to write to; none if all are in use. Throws Error if the system has no memory.
  Page take_page();
  /// Copies the first `positions` of a page.
  void copy(const Page& from, std::int64_t positions, const Page& to) const;

 private:
  std::int64_t row_bytes() const { return shape_.head_dim * kv_element_bytes(type_); }
  /// Of the keys, or the values, of a layer.
  std::int64_t part_bytes() const { return shape_.n_kv_heads * kKvPagePositions * row_bytes(); }
  std::int64_t scale_bytes() const;
  std::int64_t layer_bytes() const { return 2 * (part_bytes() + scale_bytes()); }
  std::size_t page_bytes() const;
  std::int64_t page_count() const;

  KvCacheShape shape_;
  KvType type_;
  PagePool pages_;
};

class KvCache {
 public:
  /// An empty sequence of up to `capacity` positions, which may be more than the pool has free.
  KvCache(std::shared_ptr<KvPool> pool, std::int64_t capacity);
  /// One with a pool of its own.
  KvCache(const KvCacheShape& shape, KvType type);
  KvCache(KvCache&&) = default;
  KvCache& operator=(KvCache&&) = default;

  const std::shared_ptr<KvPool>& pool() const { return pool_; }
  std::int64_t capacity() const { return capacity_; }
  /// Positions held.
  std::int64_t length() const { return length_; }

  /// Makes room for `tokens` more positions: takes pages, and copies one that it would write to and
  /// that others hold too. False, and nothing is taken, if the pool has too few. They must be
  /// within the capacity. Throws Error if the system has no memory.
  [[nodiscard]] bool reserve(std::int64_t tokens);
  /// The same; throws Error if the pool has too few.
  void require(std::int64_t tokens);
  /// Puts the keys and values of a position, (n_kv_heads * head_dim) each, for which there is room.
  void store(const KernelSet& kernels, std::int64_t layer, std::int64_t position, const float* keys,
             const float* values) const;
  /// Counts `tokens` more positions as held; their keys and values were stored for every layer.
  void advance(std::int64_t tokens);
  /// Forgets all positions from `length` on and gives back their pages.
  void truncate(std::int64_t length);

  /// Those of the positions held, and of those that there is room for.
  std::span<const Page> pages() const { return pages_; }
  /// Takes over the first `length` positions of another sequence of the same pool, by its pages.
  /// The cache must be empty.
  void share(std::span<const Page> pages, std::int64_t length);

 private:
  std::shared_ptr<KvPool> pool_;
  std::int64_t capacity_;
  std::int64_t length_ = 0;
  std::vector<Page> pages_;
};

}  // namespace nibble
