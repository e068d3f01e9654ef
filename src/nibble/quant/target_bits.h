// A number of bits for each layer, so that the model as a whole reads no more than so many bits a
// weight for a token and loses the least by what was measured of each layer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "nibble/models/checkpoint.h"
#include "nibble/ops/compute.h"
#include "nibble/quant/plan.h"

namespace nibble {

/// What a layer loses in each format that it can have.
struct LayerFormats {
  struct Format {
    WeightLayout layout;
    double loss;
  };
  std::size_t layer;            // in QuantizePlan::layers
  std::vector<Format> formats;  // the fewest bits first
};

/// Measures each packed layer of `plan` at 3 and 4 bits, in groups of the size that the plan has
/// asked for, and at 8 with a scale for each output channel. With d the mean squares of the
/// layer's input features over calibration tokens in the model that is not quantized:
///
///     loss = share * sum_ij d_j (w'_ij - w_ij)^2 / sum_ij d_j w_ij^2
///
/// w' by searched ranges (rounders/range_search.h). `share` is the mean over tokens of |y|^2 /
/// |x|^2, y being what the layer's half of the block adds to the hidden state and x that state
/// behind it, over the sum of these means of all halves, which together make the state that the
/// head reads; of the head it is 1. Layers outside the blocks but the head have d = 1 and share =
/// 1. ids: calibration blocks, of which the first eight are run. One decoder block is in memory at
/// a time. Throws Error for weights or inputs that are not finite.
std::vector<LayerFormats> measure_formats(const Checkpoint& checkpoint, const QuantizePlan& plan,
                                          const std::vector<std::vector<std::int32_t>>& ids,
                                          Compute& compute);

/// Gives layers of `plan` formats: all the fewest bits, then step by step the one more whose loss
/// falls most for a bit more, while bits_per_weight() of all stays at `target` or below. Throws
/// Error if the fewest are more than that.
void choose_formats(const ModelSpec& spec, const std::vector<LayerFormats>& measured, double target,
                    QuantizePlan& plan);

}  // namespace nibble
