#include "nibble/kernels/avx2/avx2.h"
#include "nibble/kernels/avx2/simd.h"
// The set's vectors first.
#include "nibble/kernels/vector/elementwise.h"

namespace nibble::avx2 {

void rms_norm(const float* x, const float* weight, std::int64_t n, float eps, float* out) {
  rms_norm_row(x, weight, n, eps, out);
}
void rope(float* x, const float* cos, const float* sin, std::int64_t heads, std::int64_t head_dim) {
  rope_heads(x, cos, sin, heads, head_dim);
}
void layer_norm(const float* x, const NormWeights& weights, std::int64_t n, float* out) {
  layer_norm_row(x, weights, n, out);
}
void activate(Activation activation, const float* x, std::int64_t n, float* out) {
  with_activation(activation, [=](auto function) { activate_row(function, x, n, out); });
}
void activate_mul(Activation activation, const float* gate, const float* up, std::int64_t n,
                  float* out) {
  with_activation(activation, [=](auto function) { activate_mul_row(function, gate, up, n, out); });
}
void add(float* x, const float* y, std::int64_t n) {
  add_row(x, y, n);
}
void to_bf16(const float* x, std::int64_t n, BFloat16* out) {
  to_bf16_row(x, n, out);
}
void group_sums_f32(const float* x, std::int64_t n, std::int64_t group_size, float* out) {
  group_sums(x, n, group_size, out);
}
void group_sums_bf16(const BFloat16* x, std::int64_t n, std::int64_t group_size, float* out) {
  group_sums(x, n, group_size, out);
}

}  // namespace nibble::avx2
