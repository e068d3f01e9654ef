// How far a quantized model is from the one that it was made from: what each decoder block's errors
// add up to, and the predictions. Both models go block by block, side by side.
#pragma once

#include <cstdint>
#include <vector>

#include "nibble/models/checkpoint.h"
#include "nibble/ops/compute.h"

namespace nibble {

/// On one text.
struct TextQuality {
  std::int64_t tokens = 0;    // 0: nothing was measured
  double kl_divergence = 0;   // of predictions, in nats, the mean over tokens
  double top1_agreement = 0;  // the share of tokens with the same likeliest next one
};

struct Quality {
  /// Of the states behind each block on text that was not calibrated on (or, if there is none, on
  /// what was): the root mean square of their difference over that of the original's.
  std::vector<double> block_errors;
  TextQuality trained;
  TextQuality held_out;
};

/// Blocks of token ids, all of a length.
struct QualityTexts {
  std::vector<std::vector<std::int32_t>> trained;
  std::vector<std::vector<std::int32_t>> held_out;
};

/// quantized: what was made of `original`. Inputs of layers are rounded as it says, else to
/// bfloat16; weights that are not packed to `dtype`. Throws Interrupted.
Quality measure_quality(const Checkpoint& original, const Checkpoint& quantized, Compute& compute,
                        DType dtype, const QualityTexts& texts);

}  // namespace nibble
