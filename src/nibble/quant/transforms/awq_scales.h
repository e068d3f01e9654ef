// AWQ's search for scales: s = mean|x|^r, r on 20 steps of [0, 1), the r whose rounded weights
// change the output of the module inspected the least.
#pragma once

#include <vector>

#include "nibble/quant/transforms/awq.h"
#include "nibble/quant/transforms/block_samples.h"
#include "nibble/quant/transforms/gram.h"

namespace nibble {

/// s of one ratio from the mean magnitudes of the inputs: at least 1e-4, divided by the root of the
/// product of the largest and the least.
std::vector<float> awq_scales(const std::vector<float>& means, double ratio);

class AwqScaleSearch {
 public:
  /// means: the mean magnitudes of the group's inputs.
  AwqScaleSearch(const TransformContext& context, const ScaleGroup& group,
                 const std::vector<float>& means);

  /// Of a group whose own output is inspected, a single layer; inputs: finished, of all tokens.
  AwqScale search(const Gram& inputs) const;
  /// Of a group that is inspected by the attention or the MLP: the ratios run through the samples
  /// side by side, and those that are behind beyond doubt drop out (race.h), if they may.
  AwqScale search(BlockSamples& samples, bool may_drop_out) const;

 private:
  AwqScale best(std::vector<double> losses, std::size_t candidate) const;

  const TransformContext& context_;
  const ScaleGroup& group_;
  std::vector<std::vector<float>> candidates_;
};

}  // namespace nibble
