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

// Tokens of one pass: enough to keep the arithmetic units busy, few enough that activations stay
// small.
constexpr std::size_t kBatch = 512;

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

}  // namespace

Model::Model(const std::filesystem::path& path, const ComputeOptions& options)
    : checkpoint_(path),
      compute_(select_kernels(), options.threads, options.activations),
      decoder_(checkpoint_, compute_, options.dtype),
      kv_(options.kv) {
  report_unread_tensors(checkpoint_);
  note_conversions(checkpoint_, options.dtype);
  if (options.activations == ActivationType::kInt8 && !has_integers(checkpoint_)) {
    warn("{}: no weights are integers, so that activations stay bf16", path.string());
  }
}

KvCache Model::make_cache(std::int64_t context) const {
  const ModelSpec& spec = checkpoint_.spec();
  if (spec.positions && context > spec.context) {
    fail("a context of {} positions is longer than the {} that this model has embeddings for",
         context, spec.context);
  }
  if (context > spec.context) {
    warn("a context of {} is longer than the {} positions that the model was made for", context,
         spec.context);
  }
  return KvCache({.n_layers = spec.n_layers,
                  .n_kv_heads = spec.n_kv_heads,
                  .head_dim = spec.head_dim,
                  .capacity = context > 0 ? context : spec.context},
                 kv_);
}

void Model::check(std::span<const std::int32_t> tokens, const KvCache& cache) const {
  for (const std::int32_t token : tokens) {
    if (token < 0 || token >= spec().vocab) {
      fail("token id {} is not one of this model's vocabulary of {}", token, spec().vocab);
    }
  }
  const std::int64_t room = cache.capacity() - cache.length();
  if (static_cast<std::int64_t>(tokens.size()) > room) {
    fail("{} tokens do not fit in the context: {} of its {} positions are free", tokens.size(),
         room, cache.capacity());
  }
}

void Model::forward(std::span<const std::int32_t> tokens, KvCache& cache, float* hidden) {
  check(tokens, cache);
  for (std::size_t at = 0; at < tokens.size(); at += kBatch) {
    const auto batch = tokens.subspan(at, std::min(kBatch, tokens.size() - at));
    decoder_.forward(compute_, batch, cache, hidden);
    hidden += static_cast<std::int64_t>(batch.size()) * spec().hidden;
  }
}

void Model::forward_last(std::span<const std::int32_t> tokens, KvCache& cache, float* logits_out) {
  assert(!tokens.empty());
  check(tokens, cache);
  const auto width = static_cast<std::size_t>(spec().hidden);
  hidden_.resize(std::min(kBatch, tokens.size()) * width);
  std::size_t last = 0;  // row of hidden_
  for (std::size_t at = 0; at < tokens.size(); at += kBatch) {
    const auto batch = tokens.subspan(at, std::min(kBatch, tokens.size() - at));
    decoder_.forward(compute_, batch, cache, hidden_.data());
    last = batch.size() - 1;
  }
  logits(hidden_.data() + last * width, 1, logits_out);
}

void Model::logits(const float* hidden, std::int64_t rows, float* out) {
  decoder_.logits(compute_, hidden, rows, out);
}

}  // namespace nibble
