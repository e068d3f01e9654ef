#include "nibble/weights/dense.h"

#include <cstring>

#include "nibble/core/bfloat16.h"

namespace nibble {

WeightFormat dense_format(DType dtype) {
  return dtype == DType::kF32   ? WeightFormat::kF32
         : dtype == DType::kF16 ? WeightFormat::kF16
                                : WeightFormat::kBF16;
}

const char* torch_dtype_name(DType dtype) {
  return dtype == DType::kF32 ? "float32" : dtype == DType::kF16 ? "float16" : "bfloat16";
}

void round_to_dtype(DType dtype, std::span<float> values) {
  if (dtype == DType::kF32) return;
  for (float& value : values) {
    value = dtype == DType::kF16 ? to_float(to_float16(value)) : round_to_bfloat16(value);
  }
}

void store_as_dtype(DType dtype, std::span<const float> values, std::byte* out) {
  if (dtype == DType::kF32) {
    std::memcpy(out, values.data(), values.size_bytes());
  } else if (dtype == DType::kF16) {
    auto* to = reinterpret_cast<Float16*>(out);
    for (const float value : values) *to++ = to_float16(value);
  } else {
    auto* to = reinterpret_cast<BFloat16*>(out);
    for (const float value : values) *to++ = to_bfloat16(value);
  }
}

}  // namespace nibble
