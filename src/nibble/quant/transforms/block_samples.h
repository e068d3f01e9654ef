// The calibration samples of a transform on their way through its block: each half of the block is
// run once for all of them, or, where they may not be stored behind it, once more where it is
// needed.
#pragma once

#include <cstdint>

#include "nibble/quant/calibration/transform.h"

namespace nibble {

class BlockSamples {
 public:
  /// The block must stay as it is until the last of these calls.
  explicit BlockSamples(const TransformContext& context)
      : stream_(*context.stream), block_(context.block), moves_on_(context.moves_on) {}

  std::int64_t count() const { return stream_.samples(); }
  std::int64_t tokens() const { return stream_.tokens(); }  // of a sample
  /// For running attention on a sample.
  Pass& pass() { return stream_.pass(); }

  // What layers get for a sample, (tokens, in features), valid until the next call, in the order of
  // the forward pass: each for all samples before the next.
  const float* attention_input(std::int64_t sample);
  const float* attention_out_input(std::int64_t sample);
  const float* mlp_input(std::int64_t sample);
  const float* down_input(std::int64_t sample);

 private:
  void load_behind_attention(std::int64_t sample);

  CalibrationStream& stream_;
  const DecoderBlock& block_;
  bool moves_on_;
};

}  // namespace nibble
