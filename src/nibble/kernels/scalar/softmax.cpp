// Softmax and its logarithm's sum over one row. The sum is kept in double: a vocabulary has 150,000
// terms.
#include <cmath>
#include <limits>

#include "nibble/kernels/scalar/scalar.h"

namespace nibble::scalar {
namespace {

// What to subtract before exp: the maximum, or 0 where that is infinite (inf - inf would be NaN),
// as PyTorch does. A row of -inf then sums to 0, and its logarithm is -inf.
float shift_of(const float* x, std::int64_t n) {
  float max = -std::numeric_limits<float>::infinity();
  for (std::int64_t i = 0; i < n; ++i) max = x[i] > max ? x[i] : max;
  return std::isinf(max) ? 0.0F : max;
}

}  // namespace

float log_sum_exp(const float* x, std::int64_t n) {
  const float shift = shift_of(x, n);
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += std::exp(x[i] - shift);
  return static_cast<float>(shift + std::log(sum));
}

float softmax(const float* x, std::int64_t n, float* out) {
  const float shift = shift_of(x, n);
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    out[i] = std::exp(x[i] - shift);
    sum += out[i];
  }
  const auto factor = static_cast<float>(1.0 / sum);
  for (std::int64_t i = 0; i < n; ++i) out[i] *= factor;
  return static_cast<float>(shift + std::log(sum));
}

}  // namespace nibble::scalar
