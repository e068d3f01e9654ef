// Single rows out of a packed matrix: those of an embedding that is packed.
#pragma once

#include <cstdint>
#include <span>

#include "nibble/weights/weight_view.h"

namespace nibble {

/// Row `row` of `view` as float32, exactly what it stands for. out: (cols). Allocates nothing.
void read_packed_row(const WeightView& view, std::int64_t row, std::span<float> out);

}  // namespace nibble
