#include "nibble/ops/plain_attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace nibble {
namespace {

float element(float value) {
  return value;
}
float element(BFloat16 value) {
  return to_float(value);
}
float element(std::int8_t value) {
  return static_cast<float>(value);
}

template <typename T>
float dot(const float* x, const T* y, std::int64_t n) {
  constexpr std::int64_t kSums = 8;  // side by side, so that the compiler may use vectors
  float sums[kSums] = {};
  std::int64_t i = 0;
  for (; i + kSums <= n; i += kSums) {
    for (std::int64_t j = 0; j < kSums; ++j) sums[j] += x[i + j] * element(y[i + j]);
  }
  float sum = 0;
  for (; i < n; ++i) sum += x[i] * element(y[i]);
  for (const float part : sums) sum += part;
  return sum;
}

template <typename T>
void add_scaled(float* out, float scale, const T* x, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) out[i] += scale * element(x[i]);
}

/// What one token and head looks at: the cache of its sequence, where its KV head begins in a page.
struct View {
  const KvSequence& sequence;
  const KvLayerView& cache;
  std::int64_t head_row;  // of the KV head in a part of a page
  std::int64_t head_dim;
  std::int64_t first;  // position
  std::int64_t end;

  const std::byte* page(std::int64_t position) const {
    return sequence.pages[static_cast<std::size_t>(position / kKvPagePositions)].data();
  }
  std::int64_t row(std::int64_t position) const { return head_row + position % kKvPagePositions; }

  template <typename T>
  const T* vector(std::int64_t part, std::int64_t position) const {
    return reinterpret_cast<const T*>(page(position) + part) + row(position) * head_dim;
  }
  /// What a row of int8 is multiplied by.
  float scale(std::int64_t part, std::int64_t position) const {
    if (cache.type != KvType::kInt8) return 1;
    return reinterpret_cast<const float*>(page(position) + part)[row(position)];
  }
};

template <typename T>
void attend(const KernelSet& kernels, const View& view, const float* q, float* scores, float* out) {
  const float scale = 1.0f / std::sqrt(static_cast<float>(view.head_dim));
  for (std::int64_t p = view.first; p < view.end; ++p) {
    scores[p - view.first] = scale * view.scale(view.cache.key_scales, p) *
                             dot(q, view.vector<T>(view.cache.keys, p), view.head_dim);
  }
  kernels.softmax(scores, view.end - view.first, scores);
  std::fill_n(out, view.head_dim, 0.0f);
  for (std::int64_t p = view.first; p < view.end; ++p) {
    add_scaled(out, scores[p - view.first] * view.scale(view.cache.value_scales, p),
               view.vector<T>(view.cache.values, p), view.head_dim);
  }
}

void attend(const KernelSet& kernels, const View& view, const float* q, float* scores, float* out) {
  switch (view.cache.type) {
    case KvType::kF32:
      return attend<float>(kernels, view, q, scores, out);
    case KvType::kBF16:
      return attend<BFloat16>(kernels, view, q, scores, out);
    case KvType::kInt8:
      return attend<std::int8_t>(kernels, view, q, scores, out);
  }
}

}  // namespace

void plain_attention(Compute& compute, const AttentionShape& shape, const KvLayerView& cache,
                     const float* q, float* out) {
  const std::int64_t group = shape.n_heads / shape.n_kv_heads;
  for (const KvSequence& sequence : cache.sequences) {
    const std::int64_t rows = sequence.tokens * shape.n_heads;
    // Of those that see most first: no thread is left with them at the end.
    compute.pool().parallel_for(rows, [&](std::int64_t index, int thread) {
      const std::int64_t row = rows - 1 - index;
      const std::int64_t end = sequence.start + row / shape.n_heads + 1;
      const std::int64_t first =
          shape.window > 0 ? std::max<std::int64_t>(0, end - shape.window) : 0;
      const View view{.sequence = sequence,
                      .cache = cache,
                      .head_row = row % shape.n_heads / group * kKvPagePositions,
                      .head_dim = shape.head_dim,
                      .first = first,
                      .end = end};
      auto* scores = reinterpret_cast<float*>(
          compute.thread_scratch(thread, static_cast<std::size_t>(end - first) * sizeof(float)));
      const std::int64_t at = row * shape.head_dim;
      attend(compute.kernels(), view, q + at, scores, out + at);
    });
    q += rows * shape.head_dim;
    out += rows * shape.head_dim;
  }
}

}  // namespace nibble
