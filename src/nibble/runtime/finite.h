// Results that are no numbers: a weight that is NaN, or sums that pass the range of floats, make
// every logit NaN. Whoever computes logits for somebody looks at them; the layer where it began is
// looked for only then.
#pragma once

#include <cstdint>
#include <span>

#include "nibble/runtime/model.h"

namespace nibble {

/// Whether all values are finite.
bool all_finite(std::span<const float> values);

/// Throws Error if one of `logits`, which `tokens` led to, is NaN or infinite: runs the tokens once
/// more from an empty cache and names the layer where the first such value arises.
void check_finite(Model& model, std::span<const float> logits,
                  std::span<const std::int32_t> tokens);

}  // namespace nibble
