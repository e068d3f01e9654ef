#include "nibble/kernels/avx512/avx512.h"
#include "nibble/kernels/avx512/simd.h"
// The set's vectors first.
#include "nibble/kernels/avx512/codes.h"
#include "nibble/kernels/avx512/matmul_bf16.h"
#include "nibble/kernels/vector/matmul_few.h"
#include "nibble/kernels/vector/matmul_many.h"

namespace nibble::avx512 {
namespace {

template <WeightFormat format>
void multiply_f32(const MatmulTask& task) {
  if (task.tokens > kFewTokens) return multiply_many<format, float>(task);
  multiply_few<format>(task, static_cast<const float*>(task.x), task.x_stride);
}

template <WeightFormat format>
void multiply_bf16(const MatmulTask& task) {
  if (task.tokens > kFewTokens) return multiply_many_bf16<format>(task);
  multiply_few_bf16<format>(task);
}

}  // namespace

void matmul_f32_f32(const MatmulTask& task) {
  multiply_f32<WeightFormat::kF32>(task);
}
void matmul_f32_f16(const MatmulTask& task) {
  multiply_f32<WeightFormat::kF16>(task);
}
void matmul_f32_bf16(const MatmulTask& task) {
  multiply_f32<WeightFormat::kBF16>(task);
}
void matmul_f32_w4(const MatmulTask& task) {
  multiply_f32<WeightFormat::kW4>(task);
}
void matmul_f32_w3(const MatmulTask& task) {
  multiply_f32<WeightFormat::kW3>(task);
}
void matmul_f32_w8(const MatmulTask& task) {
  multiply_f32<WeightFormat::kW8>(task);
}
void matmul_bf16_bf16(const MatmulTask& task) {
  multiply_bf16<WeightFormat::kBF16>(task);
}
void matmul_bf16_w4(const MatmulTask& task) {
  multiply_bf16<WeightFormat::kW4>(task);
}
void matmul_bf16_w3(const MatmulTask& task) {
  multiply_bf16<WeightFormat::kW3>(task);
}
void matmul_bf16_w8(const MatmulTask& task) {
  multiply_bf16<WeightFormat::kW8>(task);
}

// Panels of bfloat16 pairs take 128 KiB, less than those of float32.
std::size_t matmul_scratch_bytes(std::int64_t) {
  const std::size_t floats = many_scratch_bytes();
  const std::size_t bytes = matmul_int8_scratch_bytes();
  return floats > bytes ? floats : bytes;
}

}  // namespace nibble::avx512
