// Norms, rotations, activations and conversions over single rows.
#include <cmath>

#include "nibble/kernels/scalar/scalar.h"

namespace nibble::scalar {
namespace {

float silu(float x) {
  return x / (1.0F + std::exp(-x));
}
float gelu(float x) {
  return 0.5F * x * std::erfc(-x * 0.70710678F);
}
float gelu_tanh(float x) {
  return x / (1.0F + std::exp(-1.59576912F * x * (1.0F + 0.044715F * x * x)));
}
float relu(float x) {
  return x < 0.0F ? 0.0F : x;  // NaN stays
}

float (*function_of(Activation activation))(float) {
  switch (activation) {
    case Activation::kSilu:
      return silu;
    case Activation::kGelu:
      return gelu;
    case Activation::kGeluTanh:
      return gelu_tanh;
    case Activation::kRelu:
      return relu;
  }
  return nullptr;
}

}  // namespace

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

void layer_norm(const float* x, const NormWeights& weights, std::int64_t n, float* out) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += x[i];
  const double mean = sum / static_cast<double>(n);
  double squares = 0;
  for (std::int64_t i = 0; i < n; ++i) squares += (x[i] - mean) * (x[i] - mean);
  const auto variance = static_cast<float>(squares / static_cast<double>(n));
  const float factor = 1.0F / std::sqrt(variance + weights.eps);
  for (std::int64_t i = 0; i < n; ++i) {
    out[i] = (x[i] - static_cast<float>(mean)) * factor * weights.weight[i] + weights.bias[i];
  }
}

void activate(Activation activation, const float* x, std::int64_t n, float* out) {
  float (*const function)(float) = function_of(activation);
  for (std::int64_t i = 0; i < n; ++i) out[i] = function(x[i]);
}

void activate_mul(Activation activation, const float* gate, const float* up, std::int64_t n,
                  float* out) {
  float (*const function)(float) = function_of(activation);
  for (std::int64_t i = 0; i < n; ++i) out[i] = function(gate[i]) * up[i];
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
