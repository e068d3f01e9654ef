// Softmax and the logarithm of its sum over one row. Include the set's simd.h first.
#pragma once

#include "nibble/kernels/vector/exp.h"

namespace nibble {
namespace {

inline float max_of_row(const float* x, std::int64_t n) {
  Vec max_lanes = broadcast(-__builtin_inff());
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) max_lanes = max(load(x + i), max_lanes);
  float result = max_of(max_lanes);
  for (; i < n; ++i) result = x[i] > result ? x[i] : result;
  return result;
}

// What to subtract before exp; 0 for an infinite maximum (see the scalar set).
inline float finite_or_zero(float max) {
  return __builtin_isinf(max) ? 0.0F : max;
}

// Sums exp(x - shift) in double, a vocabulary having 150,000 terms: 64 vectors at a time in float,
// whose rounding stays below 2^-18. keep(first element, exps, lanes) gets the single values.
template <typename Keep>
double sum_of_exps(const float* x, std::int64_t n, float shift, Keep keep) {
  const Vec shifts = broadcast(shift);
  double sum = 0;
  std::int64_t i = 0;
  while (i + kLanes <= n) {
    Vec part = zero();
    for (int j = 0; j < 64 && i + kLanes <= n; ++j, i += kLanes) {
      const Vec e = exp(load(x + i) - shifts);
      keep(i, e, first_lanes(kLanes));
      part = part + e;
    }
    sum += sum_of_doubles(part);
  }
  if (i < n) {
    const Part part = first_lanes(n - i);
    const Vec e = exp(load(x + i, part) - shifts);
    keep(i, e, part);
    float rest[kLanes] = {};
    store(rest, e, part);
    sum += sum_of_doubles(load(rest));
  }
  return sum;
}

inline float log_sum_exp_row(const float* x, std::int64_t n) {
  const float shift = finite_or_zero(max_of_row(x, n));
  const double sum = sum_of_exps(x, n, shift, [](std::int64_t, Vec, Part) {});
  return static_cast<float>(shift + __builtin_log(sum));
}

inline float softmax_row(const float* x, std::int64_t n, float* out) {
  const float shift = finite_or_zero(max_of_row(x, n));
  const double sum = sum_of_exps(
      x, n, shift, [out](std::int64_t i, Vec e, Part part) { store(out + i, e, part); });
  const Vec factor = broadcast(static_cast<float>(1.0 / sum));
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(out + i, load(out + i) * factor);
  const Part rest = first_lanes(n - i);
  store(out + i, load(out + i, rest) * factor, rest);
  return static_cast<float>(shift + __builtin_log(sum));
}

}  // namespace
}  // namespace nibble
