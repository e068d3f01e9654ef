// Dense weights: float32, float16 or bfloat16 numbers.
#pragma once

#include <cstddef>
#include <span>

#include "nibble/core/dtype.h"
#include "nibble/weights/weight_view.h"

namespace nibble {

/// The format of dense weights of `dtype` (kF32, kF16 or kBF16, here and below).
WeightFormat dense_format(DType dtype);

/// What config.json's "torch_dtype" calls it.
const char* torch_dtype_name(DType dtype);

/// Rounds `values` to what `dtype` can hold (kF32: leaves them).
void round_to_dtype(DType dtype, std::span<float> values);

/// Writes float32 values as numbers of `dtype`.
void store_as_dtype(DType dtype, std::span<const float> values, std::byte* out);

}  // namespace nibble
