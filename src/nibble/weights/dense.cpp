#include "nibble/weights/dense.h"

#include <cstring>

#include "nibble/weights/weight_codec.h"

namespace nibble {
namespace {

template <DType dtype>
PartLayouts parts(const WeightLayout& layout) {
  return {{".weight", dtype, {layout.cols}}};
}

float widen(float value) {
  return value;
}
float widen(Float16 value) {
  return to_float(value);
}
float widen(BFloat16 value) {
  return to_float(value);
}

/// The elements may lie at any byte of a file.
template <typename Element>
void dequantize(const WeightView& view, const BlockColumns& columns, float* out) {
  const auto* elements = static_cast<const std::byte*>(view.parts[kCodesPart]);
  for (std::int64_t r = 0; r < kRowBlock; ++r) {
    const std::int64_t row = columns.block * kRowBlock + r;
    for (std::int64_t c = 0; c < columns.cols; ++c) {
      Element element{};
      if (row < view.rows) {
        const std::int64_t at = row * view.cols + columns.begin + c;
        std::memcpy(&element, elements + at * static_cast<std::int64_t>(sizeof element),
                    sizeof element);
      }
      out[c * kRowBlock + r] = widen(element);
    }
  }
}

template <typename Element>
constexpr WeightCodec dense_codec(WeightFormat format, const char* name,
                                  PartLayouts (*parts)(const WeightLayout&)) {
  return {.format = format,
          .name = name,
          .bits = 8 * sizeof(Element),
          .block_rows = 1,
          .group_sizes = {},
          .max_cols = 0,
          .ggml_type = DType::kBF16,
          .parts = parts,
          .dequantize = dequantize<Element>,
          .since_version = 0,
          .pack = nullptr,
          .unpack = nullptr,
          .fill_random = nullptr};
}

}  // namespace

extern const WeightCodec kF32Codec;
extern const WeightCodec kF16Codec;
extern const WeightCodec kBF16Codec;
constinit const WeightCodec kF32Codec =
    dense_codec<float>(WeightFormat::kF32, "f32", parts<DType::kF32>);
constinit const WeightCodec kF16Codec =
    dense_codec<Float16>(WeightFormat::kF16, "f16", parts<DType::kF16>);
constinit const WeightCodec kBF16Codec =
    dense_codec<BFloat16>(WeightFormat::kBF16, "bf16", parts<DType::kBF16>);

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
