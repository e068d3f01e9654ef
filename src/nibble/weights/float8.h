// 8-bit floats as bit patterns (Micikevicius et al. 2022, FP8 Formats for Deep Learning).
#pragma once

#include <array>

#include "nibble/core/dtype.h"

namespace nibble {

/// What each bit pattern of kF8E4M3 (bias 7, no infinity, all ones NaN) or kF8E5M2 (the upper half
/// of a float16) stands for.
const std::array<float, 256>& float8_values(DType dtype);

}  // namespace nibble
