// Calibration's hidden states on their way through a model, one decoder block at a time: a sample
// is loaded, moved on, and stored again; on the way it shows what goes into layers.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "nibble/models/block.h"
#include "nibble/models/embedding.h"
#include "nibble/quant/calibration/activations.h"

namespace nibble {

struct CalibrationSize {
  std::int64_t samples;
  std::int64_t tokens;  // of a sample
};

class CalibrationStream {
 public:
  /// States, keys and values are kept in bfloat16, in float32 if `is_exact`; the states in `space`.
  CalibrationStream(Compute& compute, const ModelSpec& spec, const CalibrationSize& size,
                    bool is_exact, ActivationSpace& space);
  CalibrationStream(const CalibrationStream&) = delete;
  CalibrationStream& operator=(const CalibrationStream&) = delete;

  std::int64_t samples() const { return states_.samples(); }
  std::int64_t tokens() const { return states_.tokens(); }
  std::int64_t width() const { return states_.width(); }

  /// Stores the states that the ids begin with.
  void embed(Embedding& embedding, const std::vector<std::vector<std::int32_t>>& ids);

  // The sample at hand, (tokens, hidden):
  void load(std::int64_t sample) { states_.load(compute_, sample, hidden()); }
  void store(std::int64_t sample) { states_.store(compute_, sample, hidden()); }
  /// For running a part of a block on it.
  Pass& pass() { return pass_; }
  float* hidden() { return hidden_.as<float>(static_cast<std::size_t>(tokens() * width_)); }

  // What layers get for it, valid until the next of these calls, (tokens, in features), float32
  // before any rounding:
  /// q, k and v.
  const float* attention_input(const DecoderBlock& block);
  /// o.
  const float* attended(const DecoderBlock& block);
  /// o, the sample being moved on to behind the attention's residual sum.
  const float* run_attention(const DecoderBlock& block);
  /// gate and up, behind the attention.
  const float* mlp_input(const DecoderBlock& block);
  /// down, likewise.
  const float* mlp_inner(const DecoderBlock& block);
  /// down, the sample being moved on to behind the block.
  const float* run_mlp(const DecoderBlock& block);
  /// The head or the layer before it, behind the last block. norm: may be null.
  const float* head_input(const Norm* norm);

  /// Moves the sample on to behind the attention, where o gets `attended`; behind the block, where
  /// down gets `inner`.
  void add_attention(const DecoderBlock& block, const float* attended);
  void add_mlp(const DecoderBlock& block, const float* inner);

 private:
  const float* normed(const Norm& norm);

  Compute& compute_;
  std::int64_t width_;
  Activations states_;
  KvCache cache_;  // of one layer and one sample
  Pass pass_;      // of the tokens of a sample, from position 0 on
  Buffer hidden_;
  Buffer seen_;
};

}  // namespace nibble
