// The new tokens of some sequences on their way through the layers together: a row each, those of a
// sequence one after the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "nibble/core/buffer.h"
#include "nibble/layers/kv_cache.h"
#include "nibble/layers/rope.h"
#include "nibble/ops/attention.h"

namespace nibble {

/// One pass after the other; memory is kept from pass to pass.
class Pass {
 public:
  /// `rope` without angles: positions are not rotary.
  explicit Pass(Rope rope = {}) : rope_(std::move(rope)) {}

  /// Begins a pass of no rows.
  void begin();
  /// The next `tokens` rows are at the positions after those in `cache`, which has room reserved
  /// for them. All caches of a pass are of one shape and type, and none comes twice.
  void add(KvCache& cache, std::int64_t tokens);
  /// Counts the rows as held by their caches: every layer has stored them.
  void finish();

  std::int64_t rows() const { return std::ssize(positions_); }
  std::span<const std::int64_t> positions() const { return positions_; }
  KvCache& cache(std::int64_t row) const { return *caches_[static_cast<std::size_t>(row)]; }
  const Rope& rope() const { return rope_; }
  /// A layer of all caches.
  KvLayerView layer(std::int64_t layer) const;
  /// Of attention and MLP; grows to what is needed.
  Buffer& scratch() { return scratch_; }

 private:
  Rope rope_;                            // prepared for positions_
  std::vector<std::int64_t> positions_;  // (rows)
  std::vector<KvCache*> caches_;         // (rows)
  std::vector<KvSequence> sequences_;
  Buffer scratch_;
};

}  // namespace nibble
