// One decoder block, which loads, runs and goes without the rest of its model: Decoder keeps a list
// of them, others go through a model larger than memory block by block.
#pragma once

#include <cstdint>
#include <vector>

#include "nibble/layers/linear.h"
#include "nibble/layers/mlp.h"
#include "nibble/layers/norm.h"
#include "nibble/layers/pass.h"
#include "nibble/layers/self_attention.h"
#include "nibble/models/weight_loader.h"

namespace nibble {

/// x += attention(norm(x)); x += mlp(norm(x)); or, with the norms behind,
/// x = norm(x + attention(x)); x = norm(x + mlp(x)).
struct DecoderBlock {
  Norm input_norm;
  SelfAttention attention;
  Norm post_norm;
  Mlp mlp;
  bool norm_first = true;

  /// Runs `hidden`, (rows of the pass, hidden), through the block, in place. Keys and values are
  /// stored as those of layer `layer` of the caches, which do not count them as held yet.
  void run(Compute& compute, Pass& pass, std::int64_t layer, float* hidden) const;
  /// Its two halves, the residual sums among them; run() is one after the other.
  void run_attention(Compute& compute, Pass& pass, std::int64_t layer, float* hidden) const;
  void run_mlp(Compute& compute, Pass& pass, float* hidden) const;

  // And these in two: up to what the last layer takes, (rows, its in features), valid as long as
  // the pass's scratch, and from there on.
  const float* attend(Compute& compute, Pass& pass, std::int64_t layer, const float* hidden) const;
  void add_attention(Compute& compute, const float* attended, std::int64_t rows,
                     float* hidden) const;
  const float* mlp_inner(Compute& compute, Pass& pass, const float* hidden) const;
  void add_mlp(Compute& compute, const float* inner, std::int64_t rows, float* hidden) const;

  /// In the order of the forward pass.
  std::vector<const Linear*> linears() const;
  /// The linear layer or norm of this role, or null.
  Linear* linear(ModuleRole role);
  Norm* norm(ModuleRole role);
};

/// The same block, its layers' weights being those of `block`, which must outlive it.
DecoderBlock view_of(const DecoderBlock& block);

/// Loads block `layer` of the loader's model. It may be dropped at any time; WeightLoader::drop()
/// gives back the mapped memory of its layers too.
DecoderBlock load_block(const WeightLoader& loader, std::int64_t layer);

}  // namespace nibble
