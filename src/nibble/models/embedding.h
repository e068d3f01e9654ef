// What a model begins with: rows of its embedding table, projected where its width is another, and
// learned positions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "nibble/layers/linear.h"
#include "nibble/models/weight_loader.h"

namespace nibble {

class Embedding {
 public:
  /// Tables, packed or not, stay in the checkpoint's files, whose rows are read as they are needed.
  explicit Embedding(const WeightLoader& loader);

  /// Hidden states of tokens at their positions, (tokens, hidden). Ids must be below vocab, and
  /// positions those that a model with learned ones has.
  void run(Compute& compute, std::span<const std::int32_t> tokens,
           std::span<const std::int64_t> positions, float* out);

 private:
  void look_up(Compute& compute, std::span<const std::int32_t> tokens, float* out) const;
  void look_up_row(std::int32_t token, std::span<float> row) const;
  void add_positions(Compute& compute, std::span<const std::int64_t> positions, float* out);

  ModelSpec spec_;
  DType dtype_;
  CheckpointTensor tokens_;     // (vocab, embedding_width)
  CheckpointTensor positions_;  // (rows, hidden), or nothing
  float scale_ = 1.0f;
  std::optional<Linear> project_in_;
  Buffer narrow_;        // (tokens, embedding_width)
  Buffer position_row_;  // (hidden)
};

}  // namespace nibble
