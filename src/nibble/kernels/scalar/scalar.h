// The scalar kernels: plain C++, the oracle that the other sets are tested against.
#pragma once

#include "nibble/kernels/kernel_set.h"

namespace nibble::scalar {

// matmul.cpp
template <typename Activation>
void matmul(const MatmulTask& task);  // of any format
std::size_t matmul_scratch_bytes(std::int64_t cols);

// int8.cpp
void matmul_int8(const MatmulTask& task);  // of w4 and w3
void matmul_int8_w8(const MatmulTask& task);
void quantize_int8(const QuantizeTask& task);
float int8_scale(const float* x, std::int64_t n);

// gemm.cpp
void gemm_f32(const GemmTask<float>& task);
void gemm_f64(const GemmTask<double>& task);

// attention.cpp
template <typename Cache>
void attention(const AttentionTask& task);
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
double peak_f32(std::int64_t iterations);

}  // namespace nibble::scalar
