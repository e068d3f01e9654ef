// Moves scales from a module's outputs into the weights of the layers behind it: the block computes
// the same in floats.
#pragma once

#include <span>
#include <vector>

#include "nibble/quant/calibration/transform.h"

namespace nibble {

/// Whether the layers of a group and the module before them are all to be rounded: what is not is
/// written as the checkpoint has it, and must not be changed. (A norm is rewritten.)
bool is_scalable(const ModelSpec& spec, const QuantizePlan& plan, const ScaleGroup& group,
                 std::int64_t layer);

/// The groups of a block that are.
std::vector<ScaleGroup> scalable_groups(const ModelSpec& spec, const QuantizePlan& plan,
                                        std::int64_t layer);

/// Multiplies input channel j of the group's layers by scales[j], and divides output channel j of
/// the module before them by it, in context.block and context.rewritten. scales: (in features),
/// above 0. Returns the scales that the layers got: where the model adds something to what the
/// checkpoint holds as a norm's weight, they are those that the rounded weight stands for, as it
/// can be much coarser than the sum.
std::vector<float> fold_scales(const TransformContext& context, const ScaleGroup& group,
                               std::vector<float> scales);

}  // namespace nibble
