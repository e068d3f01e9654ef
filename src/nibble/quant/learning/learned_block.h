// A decoder block of which the scales and the gains of norms are learned: forward as it runs, and
// back from the gradient of what it gave to that of what it was given, everything between being
// computed anew. No general differentiation: a block's parts are few.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "nibble/models/block.h"
#include "nibble/models/model_spec.h"
#include "nibble/quant/learning/learned_linear.h"
#include "nibble/quant/learning/norm_gradient.h"

namespace nibble {

class LearnedBlock {
 public:
  LearnedBlock(DecoderBlock block, const ModelSpec& spec);
  LearnedBlock(const LearnedBlock&) = delete;
  LearnedBlock& operator=(const LearnedBlock&) = delete;

  const DecoderBlock& block() const { return block_; }
  std::vector<LearnedLinear*> linears();
  std::vector<LearnedNorm*> norms();
  /// The layer or norm in this role; null where the block has none.
  LearnedLinear* linear(ModuleRole role);
  LearnedNorm* norm(ModuleRole role);

  /// x: (tokens, hidden), what the block was given for a sequence from its start. gradient: that of
  /// what it gave, in its place afterwards that of x. rope: prepared for the positions.
  void backward(Compute& compute, const Rope& rope, const float* x, std::int64_t tokens,
                float* gradient);

 private:
  struct Values;

  Values forward(Compute& compute, const Rope& rope, const float* x, std::int64_t tokens);
  void backward_mlp(Compute& compute, const Values& values, const float* dout, float* dinput);
  void backward_attention(Compute& compute, const Rope& rope, const Values& values,
                          const float* dout, float* dinput);

  DecoderBlock block_;
  LearnedNorm input_norm_;
  std::optional<LearnedNorm> q_norm_;
  std::optional<LearnedNorm> k_norm_;
  LearnedNorm post_norm_;
  LearnedLinear q_;
  LearnedLinear k_;
  LearnedLinear v_;
  LearnedLinear o_;
  std::optional<LearnedLinear> gate_;
  LearnedLinear up_;
  LearnedLinear down_;
};

}  // namespace nibble
