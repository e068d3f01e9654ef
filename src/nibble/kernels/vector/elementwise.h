// Norms, rotations, activations and conversions over single rows. Include the set's simd.h first.
#pragma once

#include "nibble/kernels/vector/exp.h"

namespace nibble {
namespace {

// Calls body(first element, lanes) for the vectors of a row, the last of which may be short.
template <typename Body>
void for_each_vector(std::int64_t n, Body body) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i, first_lanes(kLanes));
  if (i < n) body(i, first_lanes(n - i));
}

inline void rms_norm_row(const float* x, const float* weight, std::int64_t n, float eps,
                         float* out) {
  Vec squares[4] = {zero(), zero(), zero(), zero()};
  std::int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const Vec v = load(x + i + j * kLanes);
      squares[j] = fma(v, v, squares[j]);
    }
  }
  for (; i < n; i += kLanes) {
    const Vec v = load(x + i, first_lanes(n - i));
    squares[0] = fma(v, v, squares[0]);
  }
  const double sum = sum_of_doubles((squares[0] + squares[1]) + (squares[2] + squares[3]));
  const auto mean = static_cast<float>(sum / static_cast<double>(n));
  const Vec factor = broadcast(1.0F / __builtin_sqrtf(mean + eps));
  for_each_vector(n, [=](std::int64_t at, Part part) {
    store(out + at, load(x + at, part) * factor * load(weight + at, part), part);
  });
}

inline void rope_heads(float* x, const float* cos, const float* sin, std::int64_t heads,
                       std::int64_t head_dim) {
  const std::int64_t half = head_dim / 2;
  for (std::int64_t h = 0; h < heads; ++h, x += head_dim) {
    for_each_vector(half, [=](std::int64_t i, Part part) {
      const Vec a = load(x + i, part);
      const Vec b = load(x + half + i, part);
      const Vec c = load(cos + i, part);
      const Vec s = load(sin + i, part);
      store(x + i, a * c - b * s, part);
      store(x + half + i, b * c + a * s, part);
    });
  }
}

inline void silu_mul_row(const float* gate, const float* up, std::int64_t n, float* out) {
  for_each_vector(n, [=](std::int64_t i, Part part) {
    const Vec g = load(gate + i, part);
    const Vec u = load(up + i, part);
    store(out + i, g / (broadcast(1.0F) + exp(zero() - g)) * u, part);
  });
}

inline void add_row(float* x, const float* y, std::int64_t n) {
  for_each_vector(n, [=](std::int64_t i, Part part) {
    store(x + i, load(x + i, part) + load(y + i, part), part);
  });
}

inline void to_bf16_row(const float* x, std::int64_t n, BFloat16* out) {
  for_each_vector(n, [=](std::int64_t i, Part part) { store(out + i, load(x + i, part), part); });
}

template <typename Activation>
void group_sums(const Activation* x, std::int64_t n, std::int64_t group_size, float* out) {
  for (std::int64_t g = 0; g < n / group_size; ++g, x += group_size) {
    Vec sum = zero();
    for (std::int64_t i = 0; i < group_size; i += kLanes) {
      sum = sum + load(x + i, first_lanes(group_size - i));
    }
    out[g] = sum_of(sum);
  }
}

}  // namespace
}  // namespace nibble
