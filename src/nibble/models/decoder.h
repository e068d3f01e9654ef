// Runs any ModelSpec: token ids in, hidden states and logits out. Prefill (many tokens) and decode
// (one or a few) are the same pass.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "nibble/core/dtype.h"
#include "nibble/layers/kv_cache.h"
#include "nibble/layers/linear.h"
#include "nibble/layers/mlp.h"
#include "nibble/layers/norm.h"
#include "nibble/layers/rope.h"
#include "nibble/layers/self_attention.h"
#include "nibble/models/checkpoint.h"
#include "nibble/models/weight_loader.h"

namespace nibble {

/// One decoder block: x += attention(norm(x)); x += mlp(norm(x)); or, with the norms behind,
/// x = norm(x + attention(x)); x = norm(x + mlp(x)).
struct DecoderBlock {
  Norm input_norm;
  SelfAttention attention;
  Norm post_norm;
  Mlp mlp;
};

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
  /// Embeddings of tokens at the positions from `start` on, (tokens, hidden).
  void embed(Compute& compute, std::span<const std::int32_t> tokens, std::int64_t start,
             float* out);
  void add_positions(Compute& compute, std::int64_t start, std::int64_t tokens, float* out);
  void run_block(Compute& compute, std::int64_t layer, std::int64_t tokens, KvCache& cache,
                 float* hidden);
  void place_next();

  ModelSpec spec_;
  DType dtype_;
  WeightLoader loader_;
  std::size_t placed_ = 0;  // blocks whose weights have been moved, then the head
  // Rows read as they are needed:
  CheckpointTensor embedding_;  // (vocab, embedding_width)
  CheckpointTensor positions_;  // (rows, hidden), or nothing
  float embedding_scale_ = 1.0f;
  std::optional<Linear> project_in_;
  std::optional<Linear> project_out_;
  std::vector<DecoderBlock> blocks_;
  std::optional<Norm> final_norm_;
  Linear head_;
  Rope rope_;
  Buffer position_rows_;  // (tokens, hidden)
  Buffer scratch_;        // of attention and MLP
  Buffer projected_;      // (tokens, embedding_width)
};

/// The angles a position adds to each pair of a head, in radians: (head_dim / 2), float32.
std::vector<float> rope_frequencies(const RopeSpec& rope, std::int64_t head_dim);

}  // namespace nibble
