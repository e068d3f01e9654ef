// Runs any ModelSpec: token ids in, hidden states and logits out. Prefill (many tokens) and decode
// (one or a few) are the same pass.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "nibble/models/block.h"
#include "nibble/models/checkpoint.h"
#include "nibble/models/embedding.h"

namespace nibble {

class Decoder {
 public:
  /// Loads the weights. Those of `checkpoint` that are of `dtype` (kBF16, kF16 or kF32) or packed
  /// are used where they lie; the others are converted. `checkpoint` and `compute` must outlive
  /// this. Throws Error for missing tensors and wrong shapes.
  Decoder(const Checkpoint& checkpoint, Compute& compute, DType dtype);

  const ModelSpec& spec() const { return spec_; }

  /// Runs `tokens` at the positions after those in `cache`, which must have room and no more
  /// positions than a model with learned ones has, and counts them as held. Writes the final normed
  /// hidden states, (tokens, hidden). Ids must be below vocab.
  void forward(Compute& compute, std::span<const std::int32_t> tokens, KvCache& cache,
               float* hidden);

  /// Logits of `rows` hidden states, (rows, vocab).
  void logits(Compute& compute, const float* hidden, std::int64_t rows, float* out);

  /// Whether weights lie where they will stay. With one memory node they are moved to faster memory
  /// (WeightLoader::place) a block at a time by passes of a single token: a first answer is not
  /// kept waiting, and who only reads a prompt pays nothing. With several all are moved at once, at
  /// load.
  bool is_settled() const { return placed_ > blocks_.size(); }

  /// Bytes and weights that one token of decode reads: every linear layer and the head.
  double bytes_per_token() const;
  double weights_per_token() const;

 private:
  void place_next();

  ModelSpec spec_;
  WeightLoader loader_;
  std::size_t placed_ = 0;  // blocks whose weights have been moved, then the head
  Embedding embedding_;
  std::vector<DecoderBlock> blocks_;
  std::optional<Norm> final_norm_;
  std::optional<Linear> project_out_;
  Linear head_;
  Rope rope_;
  Buffer scratch_;    // of attention and MLP
  Buffer projected_;  // (tokens, embedding_width)
};

}  // namespace nibble
