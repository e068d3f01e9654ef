// A block with the weights that rounding would leave of some layers under scales, Q(W s) / s: what
// AWQ's search tries.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "nibble/quant/calibration/transform.h"

namespace nibble {

/// The plan for a layer of the context's block.
const LayerPlan& plan_of(const TransformContext& context, ModuleRole role);

/// A layer, to be rounded in groups.
class RoundedLayer {
 public:
  RoundedLayer(const LayerPlan& plan, const Linear& layer);

  std::int64_t rows() const { return weights_.rows; }
  std::int64_t cols() const { return weights_.cols; }
  /// Some rows as they are, `first` being a multiple of 16. out: (count, cols).
  void read(std::int64_t first, std::int64_t count, std::span<float> out) const;
  /// Rounds rows under scales, (cols), in place.
  void round(const std::vector<float>& scales, std::span<float> rows) const;

 private:
  WeightView weights_;
  int group_size_;
  int bits_;
};

class TrialBlock {
 public:
  /// Of the context's block, whose weights must stay as they are; `group` says which layers.
  TrialBlock(const TransformContext& context, const ScaleGroup& group);
  TrialBlock(const TrialBlock&) = delete;
  TrialBlock& operator=(const TrialBlock&) = delete;

  const DecoderBlock& block() const { return block_; }
  void set(const std::vector<float>& scales);

 private:
  Compute& compute_;
  DecoderBlock block_;
  std::vector<RoundedLayer> rounded_;
  std::vector<Linear*> layers_;
};

}  // namespace nibble
