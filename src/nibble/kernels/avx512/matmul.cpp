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
  const auto* x = static_cast<const float*>(task.x);
  is_intel() ? multiply_few<format, Fetch::kToL2>(task, x, task.x_stride)
             : multiply_few<format, Fetch::kPastL2>(task, x, task.x_stride);
}

template <WeightFormat format>
void multiply_dot(const MatmulTask& task) {
  multiply_bf16<format, Fetch::kPastL2, BFloat16>(task);
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
void matmul_dot_bf16(const MatmulTask& task) {
  multiply_dot<WeightFormat::kBF16>(task);
}
void matmul_dot_w4(const MatmulTask& task) {
  multiply_dot<WeightFormat::kW4>(task);
}
void matmul_dot_w3(const MatmulTask& task) {
  multiply_dot<WeightFormat::kW3>(task);
}
void matmul_dot_w8(const MatmulTask& task) {
  multiply_dot<WeightFormat::kW8>(task);
}

void matmul_bf16_bf16(const MatmulTask& task) {
  is_intel() ? matmul_wide_bf16(task) : matmul_dot_bf16(task);
}
void matmul_bf16_w4(const MatmulTask& task) {
  is_intel() ? matmul_wide_w4(task) : matmul_dot_w4(task);
}
void matmul_bf16_w3(const MatmulTask& task) {
  is_intel() ? matmul_wide_w3(task) : matmul_dot_w3(task);
}
void matmul_bf16_w8(const MatmulTask& task) {
  is_intel() ? matmul_wide_w8(task) : matmul_dot_w8(task);
}

std::size_t matmul_scratch_bytes(std::int64_t cols) {
  const std::size_t most[] = {many_scratch_bytes(), matmul_int8_scratch_bytes(),
                              kPanelBytes + widened_bytes(kTileRows, kPairs<Widened>.depth),
                              widened_bytes(kFewTokens, cols)};
  std::size_t bytes = 0;
  for (const std::size_t each : most) bytes = each > bytes ? each : bytes;
  return bytes;
}

}  // namespace nibble::avx512
