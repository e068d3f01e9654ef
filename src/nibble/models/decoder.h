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
#include "nibble/models/weight_mover.h"

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

  /// Moves what is left to move of the weights to memory that is quicker to read
  /// (models/weight_mover.h). Otherwise passes do that bit by bit; on several memory nodes all is
  /// done at load.
  void move_weights() { mover_.move_all(); }

  /// Bytes and weights that one token of decode reads: every linear layer and the head.
  double bytes_per_token() const;
  double weights_per_token() const;

 private:
  void plan_moves();

  ModelSpec spec_;
  WeightLoader loader_;
  WeightMover mover_;
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
