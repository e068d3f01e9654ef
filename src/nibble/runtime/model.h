// A loaded model, ready to compute: checkpoint and weights. Sequences are KV caches made by it.
// Threads may call it at any time: one pass runs after the other, each sequence being one thread's
// at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "nibble/layers/kv_cache.h"
#include "nibble/models/checkpoint.h"
#include "nibble/models/decoder.h"
#include "nibble/ops/compute.h"
#include "nibble/ops/plain_device.h"

namespace nibble {

/// How to compute (docs/numerics.md).
struct ComputeOptions {
  DType dtype = DType::kBF16;  // of dense weights
  // Inputs of linear layers; not given: what the checkpoint says of each (Checkpoint::activations).
  std::optional<ActivationType> activations = {};
  KvType kv = KvType::kBF16;  // keys and values
  FusionSet fusion = FusionSet::all();
};

class Model {
 public:
  /// Opens and loads. Several models may share `pool`, which must outlive this. Throws Error as
  /// Checkpoint and Decoder do.
  Model(const std::filesystem::path& path, ThreadPool& pool, const ComputeOptions& options = {});

  const Checkpoint& checkpoint() const { return checkpoint_; }
  const ModelSpec& spec() const { return checkpoint_.spec(); }
  const Decoder& decoder() const { return decoder_; }
  /// What inputs of linear layers are rounded to: int8 of one kind or the other if any layer's are.
  ActivationType activations() const { return decoder_.activations(); }
  Compute& compute() { return compute_; }

  /// An empty cache for `context` positions; 0: as many as the model was made for. Warns of more;
  /// throws Error for more if the model has learned positions.
  KvCache make_cache(std::int64_t context = 0) const;
  /// The same, in pages that several caches take from one pool.
  KvCache make_cache(std::shared_ptr<KvPool> pool, std::int64_t context = 0) const;
  /// For `positions` of all its caches together.
  std::shared_ptr<KvPool> make_pool(std::int64_t positions) const;

  /// Runs the sequences' tokens at the positions after those in their caches, which are different
  /// ones; writes their hidden states, (tokens of all sequences, hidden). Long runs are cut into
  /// passes. Throws Error, before anything is computed, if an id is not below vocab, or if a cache
  /// or its pool has no room for them.
  void forward(std::span<const SequenceTokens> sequences, float* hidden);
  /// Runs the sequences' tokens (at least one each) likewise and writes the logits of the last one
  /// of each, (sequences, vocab).
  void forward_last(std::span<const SequenceTokens> sequences, float* logits);
  /// Logits of `rows` hidden states, (rows, vocab).
  void logits(const float* hidden, std::int64_t rows, float* out);

  /// Of one sequence.
  void forward(std::span<const std::int32_t> tokens, KvCache& cache, float* hidden) {
    const SequenceTokens sequence{tokens, &cache};
    forward({&sequence, 1}, hidden);
  }
  void forward_last(std::span<const std::int32_t> tokens, KvCache& cache, float* logits) {
    const SequenceTokens sequence{tokens, &cache};
    forward_last({&sequence, 1}, logits);
  }

  /// As Decoder::move_weights(): for who will run it for long, or measures.
  void move_weights();

 private:
  void begin(std::span<const SequenceTokens> sequences) const;
  void check(const SequenceTokens& sequence) const;
  std::int64_t positions_for(std::int64_t context) const;

  Checkpoint checkpoint_;
  PlainDevice plain_device_;  // used where not all is to run as one
  Compute compute_;
  Decoder decoder_;
  KvType kv_;
  // Of the pass under way:
  std::mutex mutex_;
  std::vector<SequenceTokens> pieces_;
  std::vector<float> hidden_;  // (rows, hidden)
  std::vector<float> last_;    // (sequences, hidden)
};

}  // namespace nibble
