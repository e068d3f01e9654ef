// One tile of queries against one chunk of the KV cache, a query row at a time.
#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "nibble/kernels/scalar/scalar.h"

namespace nibble::scalar {
namespace {

float widen(float value) {
  return value;
}
float widen(BFloat16 value) {
  return to_float(value);
}
float widen(std::int8_t value) {
  return value;
}

// What a row of the cache is multiplied by: only int8 has scales.
template <typename Cache>
float scale_of(const float* scales, std::int64_t position) {
  return std::is_same_v<Cache, std::int8_t> ? scales[position] : 1.0F;
}

// Four sums side by side: not one long chain of additions, and a smaller rounding error.
template <typename Cache>
float dot(const float* q, const Cache* key, std::int64_t n) {
  float sums[4] = {};
  std::int64_t i = 0;
  for (; i + 4 <= n; i += 4) {
    for (int j = 0; j < 4; ++j) sums[j] += q[i + j] * widen(key[i + j]);
  }
  for (; i < n; ++i) sums[0] += q[i] * widen(key[i]);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// The positions begin .. end of the chunk.
struct Positions {
  std::int64_t begin;
  std::int64_t end;
};

// Updates one row's running maximum, sum and weighted values with the keys and values it sees.
template <typename Cache>
void attend(const AttentionTask& task, const float* q, const Positions& seen, std::int64_t row) {
  const auto* keys = static_cast<const Cache*>(task.keys);
  const auto* values = static_cast<const Cache*>(task.values);
  const std::int64_t head_dim = task.head_dim;
  float scores[kAttentionMaxPositions];
  float max = task.max[row];
  for (std::int64_t p = seen.begin; p < seen.end; ++p) {
    scores[p] =
        task.scale * scale_of<Cache>(task.key_scales, p) * dot(q, keys + p * head_dim, head_dim);
    max = std::max(max, scores[p]);
  }
  // All scores -inf: nothing to weigh, and -inf - -inf would make NaN of it.
  const float shift = max == -std::numeric_limits<float>::infinity() ? 0.0F : max;
  const float correction = std::exp(task.max[row] - shift);
  float* acc = task.acc + row * head_dim;
  for (std::int64_t d = 0; d < head_dim; ++d) acc[d] *= correction;
  float sum = task.sum[row] * correction;
  for (std::int64_t p = seen.begin; p < seen.end; ++p) {
    const float weight = std::exp(scores[p] - shift);
    sum += weight;
    const float factor = weight * scale_of<Cache>(task.value_scales, p);
    for (std::int64_t d = 0; d < head_dim; ++d) acc[d] += factor * widen(values[p * head_dim + d]);
  }
  task.max[row] = max;
  task.sum[row] = sum;
}

}  // namespace

template <typename Cache>
void attention(const AttentionTask& task) {
  for (std::int64_t t = 0; t < task.tokens; ++t) {
    const Positions seen = {std::max<std::int64_t>(0, task.passed + t),
                            std::min(task.positions, task.visible + t)};
    if (seen.begin >= seen.end) continue;
    for (std::int64_t h = 0; h < task.heads; ++h) {
      attend<Cache>(task, task.q + t * task.q_stride + h * task.head_dim, seen, t * task.heads + h);
    }
  }
}

std::size_t attention_scratch_bytes(std::int64_t) {
  return 0;
}

template void attention<float>(const AttentionTask&);
template void attention<BFloat16>(const AttentionTask&);
template void attention<std::int8_t>(const AttentionTask&);

}  // namespace nibble::scalar
