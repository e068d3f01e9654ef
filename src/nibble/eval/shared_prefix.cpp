#include "nibble/eval/shared_prefix.h"

#include <algorithm>

namespace nibble {
namespace {

/// Sequences may end in a page each that they cannot fill.
std::shared_ptr<KvPool> pool_for(const Model& model, std::int64_t context, std::int64_t sequences) {
  return model.make_pool((context + kKvPagePositions) * sequences);
}

}  // namespace

SharedPrefix::SharedPrefix(Model& model, std::int64_t context, std::int64_t at_once)
    : model_(model),
      context_(context),
      pool_(pool_for(model, context, at_once + 1)),
      cache_(model.make_cache(pool_, context)) {}

void SharedPrefix::set(std::span<const std::int32_t> tokens) {
  cache_.truncate(0);
  tokens_.clear();
  std::vector<float> hidden(tokens.size() * static_cast<std::size_t>(model_.spec().hidden));
  model_.forward(tokens, cache_, hidden.data());
  tokens_.assign(tokens.begin(), tokens.end());
}

KvCache SharedPrefix::branch(std::span<const std::int32_t> sequence) const {
  KvCache cache(pool_, context_);
  cache.share(cache_.pages(), common(tokens_, sequence));
  return cache;
}

std::int64_t SharedPrefix::common(std::span<const std::int32_t> prefix,
                                  std::span<const std::int32_t> sequence) {
  if (sequence.empty()) return 0;
  const auto most = static_cast<std::ptrdiff_t>(std::min(prefix.size(), sequence.size() - 1));
  return std::mismatch(prefix.begin(), prefix.begin() + most, sequence.begin()).first -
         prefix.begin();
}

}  // namespace nibble
