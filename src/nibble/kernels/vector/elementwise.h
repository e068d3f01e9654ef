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

// The sum of term(x[i]) over a row, in double from the sums of the lanes; what does not fill a
// vector is added with tail(x[i]).
template <typename Term, typename Tail>
double sum_of_row(const float* x, std::int64_t n, Term term, Tail tail) {
  Vec sums[4] = {zero(), zero(), zero(), zero()};
  std::int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) sums[j] = sums[j] + term(load(x + i + j * kLanes));
  }
  for (; i + kLanes <= n; i += kLanes) sums[0] = sums[0] + term(load(x + i));
  double sum = sum_of_doubles((sums[0] + sums[1]) + (sums[2] + sums[3]));
  for (; i < n; ++i) sum += tail(x[i]);
  return sum;
}

inline void layer_norm_row(const float* x, const NormWeights& weights, std::int64_t n, float* out) {
  const auto count = static_cast<double>(n);
  const double sum = sum_of_row(
      x, n, [](Vec v) { return v; }, [](float v) { return static_cast<double>(v); });
  const auto mean = static_cast<float>(sum / count);
  const Vec center = broadcast(mean);
  const double squares = sum_of_row(
      x, n, [=](Vec v) { return (v - center) * (v - center); },
      [=](float v) { return static_cast<double>(v - mean) * (v - mean); });
  const auto variance = static_cast<float>(squares / count);
  const Vec factor = broadcast(1.0F / __builtin_sqrtf(variance + weights.eps));
  for_each_vector(n, [=](std::int64_t i, Part part) {
    const Vec normed = (load(x + i, part) - center) * factor;
    store(out + i, fma(normed, load(weights.weight + i, part), load(weights.bias + i, part)), part);
  });
}

// x / (1 + exp(-z)).
inline Vec times_sigmoid(Vec x, Vec z) {
  return x / (broadcast(1.0F) + exp(zero() - z));
}

struct Silu {
  Vec operator()(Vec x) const { return times_sigmoid(x, x); }
};
struct GeluTanh {
  Vec operator()(Vec x) const {
    const Vec cubic = fma(broadcast(0.044715F), x * x, broadcast(1.0F));
    return times_sigmoid(x, broadcast(1.59576912F) * x * cubic);
  }
};
// x Phi(x) = max(x, 0) - |x| Phi(-|x|), the tail Phi(-|x|) = erfc(|x| / sqrt 2) / 2 by Abramowitz &
// Stegun 7.1.26: at most 7.5e-8 off.
struct Gelu {
  Vec operator()(Vec x) const {
    const Vec size = min(max(x, zero() - x), broadcast(1e9F));  // inf times a tail of 0 is NaN
    const Vec t = broadcast(1.0F) / fma(broadcast(0.3275911F * 0.70710678F), size, broadcast(1.0F));
    Vec p = broadcast(0.5F * 1.061405429F);
    p = fma(p, t, broadcast(0.5F * -1.453152027F));
    p = fma(p, t, broadcast(0.5F * 1.421413741F));
    p = fma(p, t, broadcast(0.5F * -0.284496736F));
    p = fma(p, t, broadcast(0.5F * 0.254829592F));
    const Vec tail = p * t * exp(broadcast(-0.5F) * size * size);
    return max(zero(), x) - size * tail;
  }
};
struct Relu {
  Vec operator()(Vec x) const { return max(zero(), x); }  // NaN, the second, stays
};

// Calls body(function of a vector).
template <typename Body>
void with_activation(Activation activation, Body body) {
  switch (activation) {
    case Activation::kSilu:
      return body(Silu());
    case Activation::kGelu:
      return body(Gelu());
    case Activation::kGeluTanh:
      return body(GeluTanh());
    case Activation::kRelu:
      return body(Relu());
  }
}

template <typename Function>
void activate_row(Function function, const float* x, std::int64_t n, float* out) {
  for_each_vector(
      n, [=](std::int64_t i, Part part) { store(out + i, function(load(x + i, part)), part); });
}

template <typename Function>
void activate_mul_row(Function function, const float* gate, const float* up, std::int64_t n,
                      float* out) {
  for_each_vector(n, [=](std::int64_t i, Part part) {
    store(out + i, function(load(gate + i, part)) * load(up + i, part), part);
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
