#include "nibble/layers/kv_cache.h"

#include <cassert>
#include <cstring>

#include "nibble/core/error.h"

namespace nibble {

KvCache::KvCache(const KvCacheShape& shape, KvType type) : shape_(shape), type_(type) {
  std::int64_t bytes = 0;
  if (__builtin_mul_overflow(bytes_per_position(), shape.capacity, &bytes)) {
    fail("a context of {} positions is too long for this machine", shape.capacity);
  }
  memory_ = Buffer(static_cast<std::size_t>(bytes));
}

std::int64_t KvCache::bytes_per_position() const {
  return 2 * shape_.n_layers * shape_.n_kv_heads * shape_.head_dim * element_bytes();
}

void KvCache::truncate(std::int64_t length) {
  assert(length >= 0 && length <= length_);
  length_ = length;
}

void KvCache::advance(std::int64_t tokens) {
  assert(length_ + tokens <= shape_.capacity);
  length_ += tokens;
}

std::byte* KvCache::place(std::int64_t layer, bool values) const {
  const std::int64_t per_part =
      shape_.n_kv_heads * shape_.capacity * shape_.head_dim * element_bytes();
  return memory_.data() + (2 * layer + (values ? 1 : 0)) * per_part;
}

void KvCache::store(const KernelSet& kernels, std::int64_t layer, const float* keys,
                    const float* values, std::int64_t tokens) {
  assert(length_ + tokens <= shape_.capacity);
  const std::int64_t head_dim = shape_.head_dim;
  for (const bool is_values : {false, true}) {
    const float* source = is_values ? values : keys;
    std::byte* target = place(layer, is_values);
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t head = 0; head < shape_.n_kv_heads; ++head) {
        std::byte* to =
            target + (head * shape_.capacity + length_ + t) * head_dim * element_bytes();
        if (type_ == KvType::kBF16) {
          kernels.to_bf16(source, head_dim, reinterpret_cast<BFloat16*>(to));
        } else {
          std::memcpy(to, source, static_cast<std::size_t>(head_dim) * sizeof(float));
        }
        source += head_dim;
      }
    }
  }
}

KvLayerView KvCache::layer(std::int64_t layer) const {
  return {type_, shape_.capacity, place(layer, false), place(layer, true)};
}

}  // namespace nibble
