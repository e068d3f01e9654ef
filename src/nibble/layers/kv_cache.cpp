#include "nibble/layers/kv_cache.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>
#include <utility>

#include "nibble/core/error.h"

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

std::int64_t pages_for(std::int64_t positions) {
  return positions / kKvPagePositions + (positions % kKvPagePositions > 0 ? 1 : 0);
}

}  // namespace

KvPool::KvPool(const KvCacheShape& shape, KvType type)
    : shape_(shape), type_(type), pages_(page_bytes(), page_count()) {}

std::int64_t KvPool::bytes_per_position() const {
  const std::int64_t scale_bytes = type_ == KvType::kInt8 ? sizeof(float) : 0;
  return 2 * shape_.n_layers * shape_.n_kv_heads * (row_bytes() + scale_bytes);
}

std::int64_t KvPool::scale_bytes() const {
  const std::int64_t scales = shape_.n_kv_heads * kKvPagePositions;
  return type_ == KvType::kInt8 ? scales * static_cast<std::int64_t>(sizeof(float)) : 0;
}

std::size_t KvPool::page_bytes() const {
  return static_cast<std::size_t>(shape_.n_layers * layer_bytes());
}

std::int64_t KvPool::page_count() const {
  std::int64_t bytes = 0;
  if (__builtin_mul_overflow(bytes_per_position(), shape_.capacity, &bytes)) {
    fail("a context of {} positions is too long for this machine", shape_.capacity);
  }
  return pages_for(shape_.capacity);
}

KvLayerView KvPool::layer(std::int64_t layer) const {
  const std::int64_t keys = layer * layer_bytes();
  const std::int64_t values = keys + part_bytes();
  const std::int64_t key_scales = values + part_bytes();
  return {.type = type_,
          .keys = keys,
          .values = values,
          .key_scales = key_scales,
          .value_scales = key_scales + scale_bytes()};
}

void KvPool::store(const KernelSet& kernels, std::int64_t layer, std::byte* page,
                   std::int64_t position, std::span<const float* const, 2> keys_and_values) const {
  const KvLayerView view = this->layer(layer);
  const std::int64_t dim = shape_.head_dim;
  for (const bool is_values : {false, true}) {
    const float* source = keys_and_values[is_values ? 1 : 0];
    std::byte* rows = page + (is_values ? view.values : view.keys);
    auto* scales =
        reinterpret_cast<float*>(page + (is_values ? view.value_scales : view.key_scales));
    for (std::int64_t head = 0; head < shape_.n_kv_heads; ++head, source += dim) {
      const std::int64_t row = head * kKvPagePositions + position;
      std::byte* target = rows + row * row_bytes();
      switch (type_) {
        case KvType::kF32:
          std::memcpy(target, source, static_cast<std::size_t>(row_bytes()));
          break;
        case KvType::kBF16:
          kernels.to_bf16(source, dim, reinterpret_cast<BFloat16*>(target));
          break;
        case KvType::kInt8:
          scales[row] = quantize_row(source, dim, reinterpret_cast<std::int8_t*>(target));
          break;
      }
    }
  }
}

Page KvPool::take_page() {
  try {
    return pages_.take();
  } catch (const Error& error) {
    fail("the KV cache of a context of {} positions takes {} bytes each: {}", shape_.capacity,
         bytes_per_position(), error.what());
  }
}

void KvPool::copy(const Page& from, std::int64_t positions, const Page& to) const {
  // Keys and values, then scales, of every layer: runs of kKvPagePositions rows.
  const auto copy_runs = [&](std::int64_t offset, std::int64_t runs, std::int64_t bytes_per_row) {
    for (std::int64_t run = 0; run < runs; ++run, offset += kKvPagePositions * bytes_per_row) {
      std::memcpy(to.data() + offset, from.data() + offset,
                  static_cast<std::size_t>(positions * bytes_per_row));
    }
  };
  for (std::int64_t layer = 0; layer < shape_.n_layers; ++layer) {
    const KvLayerView view = this->layer(layer);
    copy_runs(view.keys, 2 * shape_.n_kv_heads, row_bytes());
    if (type_ == KvType::kInt8) copy_runs(view.key_scales, 2 * shape_.n_kv_heads, sizeof(float));
  }
}

KvCache::KvCache(std::shared_ptr<KvPool> pool, std::int64_t capacity)
    : pool_(std::move(pool)), capacity_(capacity) {
  // So that no step of decode need allocate; a table for more positions grows.
  constexpr std::int64_t kPages = 4096;
  pages_.reserve(static_cast<std::size_t>(std::min(kPages, pages_for(capacity))));
}

KvCache::KvCache(const KvCacheShape& shape, KvType type)
    : KvCache(std::make_shared<KvPool>(shape, type), shape.capacity) {}

bool KvCache::reserve(std::int64_t tokens) {
  assert(length_ + tokens <= capacity_);
  const std::int64_t held_in_last = length_ % kKvPagePositions;
  const auto last = static_cast<std::size_t>(length_ / kKvPagePositions);
  Page copy;
  if (tokens > 0 && held_in_last > 0 && pages_[last].is_shared()) {
    copy = pool_->take_page();
    if (!copy) return false;
  }
  const std::size_t before = pages_.size();
  const auto wanted = static_cast<std::size_t>(pages_for(length_ + tokens));
  while (pages_.size() < wanted) {
    Page page = pool_->take_page();
    if (!page) {
      pages_.resize(before);
      return false;
    }
    pages_.push_back(std::move(page));
  }
  if (copy) {
    pool_->copy(pages_[last], held_in_last, copy);
    pages_[last] = std::move(copy);
  }
  return true;
}

void KvCache::require(std::int64_t tokens) {
  if (reserve(tokens)) return;
  const PagePool& pages = pool_->pages();
  fail("the KV cache is full: {} more tokens do not fit in its {} positions, of which {} are free",
       tokens, pages.pages() * kKvPagePositions, pages.free_pages() * kKvPagePositions);
}

void KvCache::store(const KernelSet& kernels, std::int64_t layer, std::int64_t position,
                    const float* keys, const float* values) const {
  const Page& page = pages_[static_cast<std::size_t>(position / kKvPagePositions)];
  assert(!page.is_shared());
  const float* const parts[] = {keys, values};
  pool_->store(kernels, layer, page.data(), position % kKvPagePositions, parts);
}

void KvCache::advance(std::int64_t tokens) {
  assert(pages_for(length_ + tokens) <= std::ssize(pages_));
  length_ += tokens;
}

void KvCache::truncate(std::int64_t length) {
  assert(length >= 0 && length <= length_);
  length_ = length;
  pages_.resize(static_cast<std::size_t>(pages_for(length)));
}

void KvCache::share(std::span<const Page> pages, std::int64_t length) {
  assert(pages_.empty() && length <= capacity_ && pages_for(length) <= std::ssize(pages));
  pages_.assign(pages.begin(), pages.begin() + pages_for(length));
  length_ = length;
}

}  // namespace nibble
