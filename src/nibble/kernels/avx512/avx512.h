// The AVX-512 kernels: functions with names of their own, no templates, so that nothing of what is
// compiled here can be taken for another set's.
#pragma once

#include "nibble/kernels/kernel_set.h"

namespace nibble::avx512 {

// matmul.cpp
void matmul_f32_f32(const MatmulTask& task);  // activations, weights
void matmul_f32_f16(const MatmulTask& task);
void matmul_f32_bf16(const MatmulTask& task);
void matmul_f32_w4(const MatmulTask& task);
void matmul_f32_w3(const MatmulTask& task);
void matmul_f32_w8(const MatmulTask& task);
void matmul_bf16_bf16(const MatmulTask& task);
void matmul_bf16_w4(const MatmulTask& task);
void matmul_bf16_w3(const MatmulTask& task);
void matmul_bf16_w8(const MatmulTask& task);
std::size_t matmul_scratch_bytes(std::int64_t cols);
void matmul_dot_bf16(const MatmulTask& task);  // by VDPBF16PS
void matmul_dot_w4(const MatmulTask& task);
void matmul_dot_w3(const MatmulTask& task);
void matmul_dot_w8(const MatmulTask& task);

// matmul_wide.cpp
void matmul_wide_bf16(const MatmulTask& task);
void matmul_wide_w4(const MatmulTask& task);
void matmul_wide_w3(const MatmulTask& task);
void matmul_wide_w8(const MatmulTask& task);

// matmul_int8.cpp
void matmul_int8_w4(const MatmulTask& task);
void matmul_int8_w3(const MatmulTask& task);
void matmul_int8_w8(const MatmulTask& task);
std::size_t matmul_int8_scratch_bytes();
void quantize_int8(const QuantizeTask& task);
float int8_scale(const float* x, std::int64_t n);

// gemm.cpp
void gemm_f32(const GemmTask<float>& task);
void gemm_f64(const GemmTask<double>& task);

// attention.cpp
void attention_f32(const AttentionTask& task);
void attention_bf16(const AttentionTask& task);
void attention_int8(const AttentionTask& task);
std::size_t attention_scratch_bytes(std::int64_t head_dim);

// elementwise.cpp
void rms_norm(const float* x, const float* weight, std::int64_t n, float eps, float* out);
void rope(float* x, const float* cos, const float* sin, std::int64_t heads, std::int64_t head_dim);
void layer_norm(const float* x, const NormWeights& weights, std::int64_t n, float* out);
void activate(Activation activation, const float* x, std::int64_t n, float* out);
void activate_mul(Activation activation, const float* gate, const float* up, std::int64_t n,
                  float* out);
void add(float* x, const float* y, std::int64_t n);
void to_bf16(const float* x, std::int64_t n, BFloat16* out);
void group_sums_f32(const float* x, std::int64_t n, std::int64_t group_size, float* out);
void group_sums_bf16(const BFloat16* x, std::int64_t n, std::int64_t group_size, float* out);

// softmax.cpp
float log_sum_exp(const float* x, std::int64_t n);
float softmax(const float* x, std::int64_t n, float* out);

// measure.cpp
std::uint64_t read_memory(const void* data, std::size_t bytes);
double peak_bf16_dot(std::int64_t iterations);
double peak_int8_dot(std::int64_t iterations);
double peak_f32_fma(std::int64_t iterations);

}  // namespace nibble::avx512
