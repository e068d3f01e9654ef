#include "nibble/layers/pass.h"

#include <algorithm>
#include <cassert>

namespace nibble {

void Pass::begin() {
  positions_.clear();
  caches_.clear();
  sequences_.clear();
  rope_.clear();
}

void Pass::add(KvCache& cache, std::int64_t tokens) {
  if (tokens == 0) return;
  const std::int64_t start = cache.length();
  assert((start + tokens - 1) / kKvPagePositions < std::ssize(cache.pages()));
  assert(std::find(caches_.begin(), caches_.end(), &cache) == caches_.end());
  for (std::int64_t position = start; position < start + tokens; ++position) {
    positions_.push_back(position);
    caches_.push_back(&cache);
  }
  rope_.append(start, tokens);
  sequences_.push_back({.pages = cache.pages(), .start = start, .tokens = tokens});
}

void Pass::finish() {
  std::size_t row = 0;
  for (const KvSequence& sequence : sequences_) {
    caches_[row]->advance(sequence.tokens);
    row += static_cast<std::size_t>(sequence.tokens);
  }
}

KvLayerView Pass::layer(std::int64_t layer) const {
  if (caches_.empty()) return {};
  KvLayerView view = caches_.front()->pool()->layer(layer);
  view.sequences = sequences_;
  return view;
}

}  // namespace nibble
