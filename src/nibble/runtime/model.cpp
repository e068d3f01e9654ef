#include "nibble/runtime/model.h"

#include <fmt/core.h>

#include <algorithm>
#include <cassert>
#include <map>

#include "nibble/core/error.h"
#include "nibble/core/log.h"
#include "nibble/kernels/select.h"
#include "nibble/models/tensor_report.h"

namespace nibble {
namespace {

// Rows of one pass: enough to keep the arithmetic units busy, few enough that activations stay
// small.
constexpr std::size_t kPassRows = 512;

/// Says which weights are not kept as the file has them: ggml's blocks that no packed format holds.
void note_conversions(const Checkpoint& checkpoint, DType dtype) {
  if (!checkpoint.is_gguf()) return;
  std::map<std::string_view, int> tensors;  // by type
  for (const LinearSpec& linear : checkpoint.spec().linears()) {
    if (checkpoint.foreign_weight(linear)) continue;
    const DType stored = checkpoint.dense_weight(linear).view.dtype;
    if (dtype_layout(stored).block > 1) ++tensors[dtype_name(stored)];
  }
  if (tensors.empty()) return;
  std::string list;
  for (const auto& [type, count] : tensors) {
    list += fmt::format("{}{} {}", list.empty() ? "" : ", ", count, type);
  }
  warn("{}: weights of no format that runs as it lies ({}) were turned into {}",
       checkpoint.path().string(), list, dtype_name(dtype));
}

bool has_integers(const Checkpoint& checkpoint) {
  const std::vector<LinearSpec> linears = checkpoint.spec().linears();
  return std::any_of(linears.begin(), linears.end(), [&](const LinearSpec& linear) {
    return checkpoint.layout_of(linear).has_value();
  });
}

std::size_t row_count(std::span<const SequenceTokens> sequences) {
  std::size_t rows = 0;
  for (const SequenceTokens& sequence : sequences) rows += sequence.tokens.size();
  return rows;
}

/// Cuts the tokens of some sequences, one after the other, into passes.
class PassCutter {
 public:
  explicit PassCutter(std::span<const SequenceTokens> sequences) : sequences_(sequences) {}

  /// Puts the next pass into `pieces`, a piece a sequence. False if nothing is left.
  bool next(std::vector<SequenceTokens>& pieces) {
    pieces.clear();
    first_ = sequence_;
    for (std::size_t room = kPassRows; room > 0 && sequence_ < sequences_.size();) {
      const auto& [tokens, cache] = sequences_[sequence_];
      const auto piece = tokens.subspan(token_, std::min(room, tokens.size() - token_));
      pieces.push_back({piece, cache});
      room -= piece.size();
      token_ += piece.size();
      if (token_ < tokens.size()) break;
      ++sequence_;
      token_ = 0;
    }
    return !pieces.empty();
  }

  /// Which sequence the first piece is of.
  std::size_t first() const { return first_; }

 private:
  std::span<const SequenceTokens> sequences_;
  std::size_t sequence_ = 0;
  std::size_t token_ = 0;
  std::size_t first_ = 0;
};

}  // namespace

Model::Model(const std::filesystem::path& path, ThreadPool& pool, const ComputeOptions& options)
    : checkpoint_(path),
      plain_device_(options.fusion),
      compute_(select_kernels(), pool),
      decoder_(checkpoint_, compute_, options.dtype, options.activations),
      kv_(options.kv) {
  if (options.fusion != FusionSet::all()) {
    compute_.set_fusion(options.fusion);
    compute_.set_device(plain_device_);
  }
  report_unread_tensors(checkpoint_);
  note_conversions(checkpoint_, options.dtype);
  if (options.activations == ActivationType::kInt8 && !has_integers(checkpoint_)) {
    warn("{}: no weights are integers, so that activations stay bf16", path.string());
  }
}

std::int64_t Model::positions_for(std::int64_t context) const {
  const ModelSpec& spec = checkpoint_.spec();
  if (spec.positions && context > spec.context) {
    fail("a context of {} positions is longer than the {} that this model has embeddings for",
         context, spec.context);
  }
  if (context > spec.context) {
    warn("a context of {} is longer than the {} positions that the model was made for", context,
         spec.context);
  }
  return context > 0 ? context : spec.context;
}

std::shared_ptr<KvPool> Model::make_pool(std::int64_t positions) const {
  const ModelSpec& spec = checkpoint_.spec();
  const KvCacheShape shape{.n_layers = spec.n_layers,
                           .n_kv_heads = spec.n_kv_heads,
                           .head_dim = spec.head_dim,
                           .capacity = positions};
  return std::make_shared<KvPool>(shape, kv_);
}

KvCache Model::make_cache(std::shared_ptr<KvPool> pool, std::int64_t context) const {
  return KvCache(std::move(pool), positions_for(context));
}

KvCache Model::make_cache(std::int64_t context) const {
  const std::int64_t positions = positions_for(context);
  return KvCache(make_pool(positions), positions);
}

void Model::begin(std::span<const SequenceTokens> sequences) const {
  for (const SequenceTokens& sequence : sequences) check(sequence);
  for (const auto& [tokens, cache] : sequences) {
    cache->require(static_cast<std::int64_t>(tokens.size()));
  }
}

void Model::check(const SequenceTokens& sequence) const {
  for (const std::int32_t token : sequence.tokens) {
    if (token < 0 || token >= spec().vocab) {
      fail("token id {} is not one of this model's vocabulary of {}", token, spec().vocab);
    }
  }
  const KvCache& cache = *sequence.cache;
  const auto count = static_cast<std::int64_t>(sequence.tokens.size());
  const std::int64_t room = cache.capacity() - cache.length();
  if (count > room) {
    fail("{} tokens do not fit in the context: {} of its {} positions are free", count, room,
         cache.capacity());
  }
}

void Model::forward(std::span<const SequenceTokens> sequences, float* hidden) {
  const std::lock_guard lock(mutex_);
  begin(sequences);
  for (PassCutter passes(sequences); passes.next(pieces_);) {
    decoder_.forward(compute_, pieces_, hidden);
    hidden += static_cast<std::int64_t>(row_count(pieces_)) * spec().hidden;
  }
}

void Model::forward_last(std::span<const SequenceTokens> sequences, float* logits_out) {
  const std::lock_guard lock(mutex_);
  begin(sequences);
  const auto width = static_cast<std::size_t>(spec().hidden);
  hidden_.resize(std::min(kPassRows, row_count(sequences)) * width);
  last_.resize(sequences.size() * width);
  for (PassCutter passes(sequences); passes.next(pieces_);) {
    decoder_.forward(compute_, pieces_, hidden_.data());
    const float* end = hidden_.data();
    for (std::size_t i = 0; i < pieces_.size(); ++i) {  // a longer sequence's next piece overwrites
      end += pieces_[i].tokens.size() * width;
      std::copy_n(end - width, width, last_.data() + (passes.first() + i) * width);
    }
  }
  decoder_.logits(compute_, last_.data(), std::ssize(sequences), logits_out);
}

void Model::move_weights() {
  const std::lock_guard lock(mutex_);
  decoder_.move_weights();
}

void Model::logits(const float* hidden, std::int64_t rows, float* out) {
  const std::lock_guard lock(mutex_);
  decoder_.logits(compute_, hidden, rows, out);
}

}  // namespace nibble
