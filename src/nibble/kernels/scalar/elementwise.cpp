// Norms, rotations, activations and conversions over single rows.
#include <cmath>

#include "nibble/kernels/scalar/scalar.h"

namespace nibble::scalar {

void rms_norm(const float* x, const float* weight, std::int64_t n, float eps, float* out) {
  double squares = 0;
  for (std::int64_t i = 0; i < n; ++i) squares += static_cast<double>(x[i]) * x[i];
  const auto mean = static_cast<float>(squares / static_cast<double>(n));
  const float factor = 1.0F / std::sqrt(mean + eps);
  for (std::int64_t i = 0; i < n; ++i) out[i] = x[i] * factor * weight[i];
}

void rope(float* x, const float* cos, const float* sin, std::int64_t heads, std::int64_t head_dim) {
  const std::int64_t half = head_dim / 2;
  for (std::int64_t h = 0; h < heads; ++h, x += head_dim) {
    for (std::int64_t i = 0; i < half; ++i) {
      const float a = x[i];
      const float b = x[i + half];
      x[i] = a * cos[i] - b * sin[i];
      x[i + half] = b * cos[i] + a * sin[i];
    }
  }
}

void silu_mul(const float* gate, const float* up, std::int64_t n, float* out) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = gate[i] / (1.0F + std::exp(-gate[i])) * up[i];
}

void add(float* x, const float* y, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) x[i] += y[i];
}

void to_bf16(const float* x, std::int64_t n, BFloat16* out) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = to_bfloat16(x[i]);
}

void group_sums_f32(const float* x, std::int64_t n, std::int64_t group_size, float* out) {
  for (std::int64_t g = 0; g < n / group_size; ++g) {
    float sum = 0;
    for (std::int64_t i = 0; i < group_size; ++i) sum += x[g * group_size + i];
    out[g] = sum;
  }
}

void group_sums_bf16(const BFloat16* x, std::int64_t n, std::int64_t group_size, float* out) {
  for (std::int64_t g = 0; g < n / group_size; ++g) {
    float sum = 0;
    for (std::int64_t i = 0; i < group_size; ++i) sum += to_float(x[g * group_size + i]);
    out[g] = sum;
  }
}

}  // namespace nibble::scalar
