// The angles of rotary position embedding, scaled as a model's config says.
#pragma once

#include <cstdint>
#include <vector>

#include "nibble/models/model_spec.h"

namespace nibble {

/// The angles a position adds to each pair of a head, in radians: (head_dim / 2), float32.
std::vector<float> rope_frequencies(const RopeSpec& rope, std::int64_t head_dim);

}  // namespace nibble
