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

/// The new tokens of a sequence and the cache that holds those before them.
struct SequenceTokens {
  std::span<const std::int32_t> tokens;
  KvCache* cache;
};

class Decoder {
 public:
  /// Loads the weights; inputs of linear layers are rounded as Checkpoint::activations says. Those
  /// of `checkpoint` that are of `dtype` (kBF16, kF16 or kF32) or packed are used where they lie;
  /// the others are converted. `checkpoint` and `compute` must outlive this. Throws Error for
  /// missing tensors and wrong shapes.
  Decoder(const Checkpoint& checkpoint, Compute& compute, DType dtype,
          std::optional<ActivationType> activations = {});

  const ModelSpec& spec() const { return spec_; }
  /// What inputs of the blocks' linear layers are rounded to: int8 if that of any is, of the first
  /// such layer's kind.
  ActivationType activations() const;

  /// Runs the sequences' tokens in one pass, each at the positions after those in its cache, and
  /// counts them as held there. The caches are different ones of one shape and type, with room
  /// within their capacity and no more positions than a model with learned ones has. Ids must be
  /// below vocab. Writes the final normed hidden states, (tokens of all sequences, hidden). Throws
  /// Error, before anything is computed, if the caches' pool is full.
  void forward(Compute& compute, std::span<const SequenceTokens> sequences, float* hidden);
  /// The same of one sequence.
  void forward(Compute& compute, std::span<const std::int32_t> tokens, KvCache& cache,
               float* hidden);

  /// Logits of `rows` hidden states, (rows, vocab).
  void logits(Compute& compute, const float* hidden, std::int64_t rows, float* out);

  /// Moves what is left to move of the weights to memory that is quicker to read
  /// (models/weight_mover.h). Otherwise passes do that bit by bit; on several memory nodes all is
  /// done at load.
  void move_weights() { mover_.move_all(); }

 private:
  void plan_moves();
  void begin_pass(std::span<const SequenceTokens> sequences);

  ModelSpec spec_;
  WeightLoader loader_;
  WeightMover mover_;
  Embedding embedding_;
  std::vector<DecoderBlock> blocks_;
  std::optional<Norm> final_norm_;
  std::optional<Linear> project_out_;
  Linear head_;
  Pass pass_;
  std::vector<std::int32_t> ids_;  // of the pass
  Buffer projected_;               // (tokens, embedding_width)
};

}  // namespace nibble
