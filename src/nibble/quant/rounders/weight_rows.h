// Rows of a weight matrix of any format as float32.
#pragma once

#include <cstdint>
#include <span>

#include "nibble/weights/weight_view.h"

namespace nibble {

/// Rows first .. first + count - 1; first is a multiple of 16. out: (count, cols). On the calling
/// thread.
void read_weight_rows(const WeightView& weight, std::int64_t first, std::int64_t count,
                      std::span<float> out);

}  // namespace nibble
