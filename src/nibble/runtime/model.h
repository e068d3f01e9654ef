// A loaded model, ready to compute: checkpoint and weights. Sequences are KV caches made by
// it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "nibble/layers/kv_cache.h"
#include "nibble/models/checkpoint.h"
#include "nibble/models/decoder.h"
#include "nibble/ops/compute.h"

namespace nibble {

/// How to compute (docs/numerics.md).
struct ComputeOptions {
  DType dtype = DType::kBF16;                          // of dense weights
  ActivationType activations = ActivationType::kBF16;  // inputs of linear layers
  KvType kv = KvType::kBF16;                           // keys and values
};

class Model {
 public:
  /// Opens and loads. Several models may share `pool`, which must outlive this. Throws Error as
  /// Checkpoint and Decoder do.
  Model(const std::filesystem::path& path, ThreadPool& pool, const ComputeOptions& options = {});

  const Checkpoint& checkpoint() const { return checkpoint_; }
  const ModelSpec& spec() const { return checkpoint_.spec(); }
  const Decoder& decoder() const { return decoder_; }
  Compute& compute() { return compute_; }

  /// An empty cache for `context` positions; 0: as many as the model was made for. Warns of more;
  /// throws Error for more if the model has learned positions.
  KvCache make_cache(std::int64_t context = 0) const;

  /// Runs tokens at the positions after those in `cache`; writes their hidden states, (tokens,
  /// hidden). Long runs are cut into batches. Throws Error, before anything is computed, if an id
  /// is not below vocab or the cache has no room for them.
  void forward(std::span<const std::int32_t> tokens, KvCache& cache, float* hidden);
  /// Runs tokens (at least one) likewise and writes the logits of the last one, (vocab).
  void forward_last(std::span<const std::int32_t> tokens, KvCache& cache, float* logits);
  /// Logits of `rows` hidden states, (rows, vocab).
  void logits(const float* hidden, std::int64_t rows, float* out);

  /// As Decoder::move_weights(): for who will run it for long, or measures.
  void move_weights() { decoder_.move_weights(); }

 private:
  void check(std::span<const std::int32_t> tokens, const KvCache& cache) const;

  Checkpoint checkpoint_;
  Compute compute_;
  Decoder decoder_;
  KvType kv_;
  std::vector<float> hidden_;  // (batch, hidden)
};

}  // namespace nibble
