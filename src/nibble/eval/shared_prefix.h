// What many sequences begin with, computed once: their KV caches share its pages, and copy the last
// one when they write to it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "nibble/runtime/model.h"

namespace nibble {

/// Rows that sequences which share a pass have together at the most, unless one has more.
inline constexpr std::int64_t kPassRows = 512;

class SharedPrefix {
 public:
  /// For sequences of up to `context` positions, `at_once` of which live at a time. The model must
  /// outlive this.
  SharedPrefix(Model& model, std::int64_t context, std::int64_t at_once);

  /// Computes `tokens`, in place of what was the prefix before. Throws Error as Model::forward().
  void set(std::span<const std::int32_t> tokens);

  /// A cache that holds those first tokens of `sequence` that the prefix has too, at most all but
  /// one.
  KvCache branch(std::span<const std::int32_t> sequence) const;

  /// Of how many tokens that is.
  static std::int64_t common(std::span<const std::int32_t> prefix,
                             std::span<const std::int32_t> sequence);

 private:
  Model& model_;
  std::int64_t context_;
  std::shared_ptr<KvPool> pool_;
  KvCache cache_;
  std::vector<std::int32_t> tokens_;
};

/// How many sequences of `positions` positions may live at a time, from 1 to `most`, so that their
/// caches take no more than a GiB.
std::int64_t caches_in_memory(const Model& model, std::int64_t positions, std::int64_t most);

}  // namespace nibble
