#include "nibble/layers/kv_cache.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>

#include "nibble/core/error.h"
#include "nibble/ops/rowwise.h"

namespace nibble {
namespace {

/// codes[i] = round(x[i] / scale), half to even, with the scale returned: the largest |x| / 127, in
/// float32; 0 for a row of zeros. A row with a NaN or an infinity gets a scale that is none either,
/// so that all of it becomes NaN or infinite.
float quantize_row(const float* x, std::int64_t n, std::int8_t* codes) {
  // As integers, magnitudes are ordered too, with NaN above infinity.
  std::uint32_t largest = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    largest = std::max(largest, std::bit_cast<std::uint32_t>(x[i]) & 0x7fffffffu);
  }
  const float scale = std::bit_cast<float>(largest) / 127.0f;
  const float inverse = scale > 0 ? 1.0f / scale : 0.0f;
  // Adding 1.5 * 2^23 rounds to an integer, which is then the sum's low bits: unlike a conversion,
  // defined for every x.
  for (std::int64_t i = 0; i < n; ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(x[i] * inverse + 12582912.0f);
    codes[i] = static_cast<std::int8_t>(bits & 0xffu);
  }
  return scale;
}

}  // namespace

KvCache::KvCache(const KvCacheShape& shape, KvType type) : shape_(shape), type_(type) {
  std::int64_t bytes = 0;
  if (__builtin_mul_overflow(bytes_per_position(), shape.capacity, &bytes)) {
    fail("a context of {} positions is too long for this machine", shape.capacity);
  }
  const std::int64_t rows = 2 * shape.n_layers * rows_per_part();
  try {
    elements_ = Buffer(static_cast<std::size_t>(rows * shape.head_dim * kv_element_bytes(type)));
    if (type == KvType::kInt8) scales_ = Buffer(static_cast<std::size_t>(rows) * sizeof(float));
  } catch (const Error& error) {
    fail("a context of {} positions: {} (-c asks for fewer)", shape.capacity, error.what());
  }
}

std::int64_t KvCache::bytes_per_position() const {
  const std::int64_t scale_bytes = type_ == KvType::kInt8 ? sizeof(float) : 0;
  return 2 * shape_.n_layers * shape_.n_kv_heads *
         (shape_.head_dim * kv_element_bytes(type_) + scale_bytes);
}

void KvCache::truncate(std::int64_t length) {
  assert(length >= 0 && length <= length_);
  length_ = length;
}

void KvCache::advance(std::int64_t tokens) {
  assert(length_ + tokens <= shape_.capacity);
  length_ += tokens;
}

std::byte* KvCache::elements(std::int64_t layer, bool values) const {
  const std::int64_t part_bytes = rows_per_part() * shape_.head_dim * kv_element_bytes(type_);
  return elements_.data() + (2 * layer + (values ? 1 : 0)) * part_bytes;
}

float* KvCache::scales(std::int64_t layer, bool values) const {
  if (type_ != KvType::kInt8) return nullptr;
  return reinterpret_cast<float*>(scales_.data()) +
         (2 * layer + (values ? 1 : 0)) * rows_per_part();
}

void KvCache::store_row(const KernelSet& kernels, const float* source, std::byte* target,
                        float* scale) const {
  switch (type_) {
    case KvType::kF32:
      std::memcpy(target, source, static_cast<std::size_t>(shape_.head_dim) * sizeof(float));
      break;
    case KvType::kBF16:
      kernels.to_bf16(source, shape_.head_dim, reinterpret_cast<BFloat16*>(target));
      break;
    case KvType::kInt8:
      *scale = quantize_row(source, shape_.head_dim, reinterpret_cast<std::int8_t*>(target));
      break;
  }
}

void KvCache::store(Compute& compute, std::int64_t layer, const float* keys, const float* values,
                    std::int64_t tokens) {
  assert(length_ + tokens <= shape_.capacity);
  const std::int64_t row_bytes = shape_.head_dim * kv_element_bytes(type_);
  for_each_row(compute, tokens, [&](std::int64_t t) {
    for (const bool is_values : {false, true}) {
      const float* source = (is_values ? values : keys) + t * shape_.n_kv_heads * shape_.head_dim;
      std::byte* target = elements(layer, is_values);
      float* scale = scales(layer, is_values);
      for (std::int64_t head = 0; head < shape_.n_kv_heads; ++head) {
        const std::int64_t row = head * shape_.capacity + length_ + t;
        store_row(compute.kernels(), source + head * shape_.head_dim, target + row * row_bytes,
                  scale == nullptr ? nullptr : scale + row);
      }
    }
  });
}

KvLayerView KvCache::layer(std::int64_t layer) const {
  return {type_,
          shape_.capacity,
          elements(layer, false),
          elements(layer, true),
          scales(layer, false),
          scales(layer, true)};
}

}  // namespace nibble
