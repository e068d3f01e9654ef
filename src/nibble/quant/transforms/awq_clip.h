// AWQ's search for the bounds that weights are clipped to: per group of weights, the largest
// magnitude shrunk in 10 steps of 5 %, the bound whose rounded group changes its part of the output
// the least on some sampled tokens (llm-awq, awq/quantize/auto_clip.py).
#pragma once

#include <span>

#include "nibble/quant/plan.h"
#include "nibble/quant/transforms/input_summary.h"

namespace nibble {

/// The bounds on |w|, (rows, groups); of bounds that are alike the largest. weights: the layer's
/// own, (rows, cols), finite; inputs: of the same scale.
std::vector<float> search_bounds(Compute& compute, const WeightLayout& layout,
                                 std::span<const float> weights, const SampledRows& inputs);

/// Clips each group of weights to its bound.
void clip_to_bounds(Compute& compute, const WeightLayout& layout, std::span<const float> bounds,
                    std::span<float> weights);

}  // namespace nibble
