// The attention or the MLP of a block, run by itself on calibration samples to see what other
// weights change in its output, the residual sum left out.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "nibble/quant/transforms/block_samples.h"

namespace nibble {

class InspectedModule {
 public:
  /// `inspected`: kAttention or kMlp.
  InspectedModule(const TransformContext& context, ScaleGroup::Inspected inspected,
                  BlockSamples& samples);

  /// Tokens that are run together: a sample, or a piece of it.
  struct Piece {
    std::int64_t sample;
    std::int64_t first;
  };
  std::int64_t piece_tokens() const { return piece_; }
  /// All of them, those that follow each other being of different samples.
  std::vector<Piece> pieces() const;

  /// Takes up some pieces, and runs the context's block, which says what outputs should be.
  void begin(std::span<const Piece> pieces);
  /// The mean squared errors of another block's outputs, of some tokens each, the same number for
  /// all.
  std::vector<double> losses(const DecoderBlock& block);

 private:
  void run(const DecoderBlock& block, float* out);

  const TransformContext& context_;
  BlockSamples& samples_;
  std::int64_t width_;
  bool is_attention_;
  std::int64_t piece_;        // tokens of a piece
  std::int64_t loss_tokens_;  // tokens of a loss
  std::int64_t tokens_ = 0;   // of the pieces taken up
  Buffer inputs_;
  Buffer expected_;
  Buffer outputs_;
};

}  // namespace nibble
