#include "nibble/kernels/avx2/avx2.h"
#include "nibble/kernels/avx2/simd.h"
// The set's vectors first.
#include "nibble/kernels/avx2/codes.h"
#include "nibble/kernels/vector/matmul_few.h"
#include "nibble/kernels/vector/matmul_many.h"

namespace nibble {
namespace {

// An activation for Codes<4>::scaled_column: times the power of two that takes back the column's.
// The products are what they were without (but for activations below 2^-98, whose last bits go).
struct ScaledFloat {
  float value;
};

template <>
struct Product<ScaledFloat> {
  static constexpr int kCols = 1;
  static Vec unpack(const Codes<4>& codes, int i, int v) { return codes.scaled_column(i, v); }
  static Vec add(Vec sum, Vec q, const ScaledFloat* x) { return fma(q, broadcast(x->value), sum); }
};

}  // namespace
}  // namespace nibble

namespace nibble::avx2 {
namespace {

// The instance for the task's number of tokens, up to kFewTokens.
template <Fetch kFetch, int kTokens = kFewTokens>
void multiply_scaled_w4(const MatmulTask& task, const ScaledFloat* x) {
  if constexpr (kTokens > 0) {
    if (task.tokens == kTokens) return few_packed<4, kTokens, kFetch>(task, x, task.weight.cols);
    multiply_scaled_w4<kFetch, kTokens - 1>(task, x);
  }
}

// A few tokens with w4: a shift less for every weight than multiply_few() takes.
template <typename Activation>
void multiply_few_w4(const MatmulTask& task) {
  static_assert(Codes<4>::kCols == kLanes);
  float powers[kLanes];
  for (int i = 0; i < kLanes; ++i) powers[i] = 1.0F / static_cast<float>(1 << Codes<4>::kShifts[i]);
  const Vec scale = load(powers);
  const auto* x = static_cast<const Activation*>(task.x);
  const std::int64_t cols = task.weight.cols;
  auto* scaled = reinterpret_cast<ScaledFloat*>(task.scratch);
  for (std::int64_t t = 0; t < task.tokens; ++t) {
    for (std::int64_t c = 0; c < cols; c += kLanes) {
      store(&scaled[t * cols + c].value, load(x + t * task.x_stride + c) * scale);
    }
  }
  is_intel() ? multiply_scaled_w4<Fetch::kToL2>(task, scaled)
             : multiply_scaled_w4<Fetch::kPastL2>(task, scaled);
}

template <WeightFormat format>
void multiply_few_floats(const MatmulTask& task, const float* x, std::int64_t x_stride) {
  is_intel() ? multiply_few<format, Fetch::kToL2>(task, x, x_stride)
             : multiply_few<format, Fetch::kPastL2>(task, x, x_stride);
}

template <WeightFormat format>
void multiply_f32(const MatmulTask& task) {
  if (task.tokens > kFewTokens) return multiply_many<format, float>(task);
  if constexpr (format == WeightFormat::kW4) return multiply_few_w4<float>(task);
  multiply_few_floats<format>(task, static_cast<const float*>(task.x), task.x_stride);
}

// There is no product of bfloat16: the activations are widened, for a few tokens all of them first.
template <WeightFormat format>
void multiply_bf16(const MatmulTask& task) {
  if (task.tokens > kFewTokens) return multiply_many<format, BFloat16>(task);
  if constexpr (format == WeightFormat::kW4) return multiply_few_w4<BFloat16>(task);
  const auto* x = static_cast<const BFloat16*>(task.x);
  const std::int64_t cols = task.weight.cols;
  auto* widened = reinterpret_cast<float*>(task.scratch);
  for (std::int64_t t = 0; t < task.tokens; ++t) {
    for (std::int64_t c = 0; c < cols; c += kLanes) {
      const Part part = first_lanes(cols - c);
      store(widened + t * cols + c, load(x + t * task.x_stride + c, part), part);
    }
  }
  multiply_few_floats<format>(task, widened, cols);
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

std::size_t matmul_scratch_bytes(std::int64_t cols) {
  const auto few = static_cast<std::size_t>(kFewTokens * cols) * sizeof(float);
  std::size_t bytes = matmul_int8_scratch_bytes();
  if (bytes < few) bytes = few;
  return bytes < many_scratch_bytes() ? many_scratch_bytes() : bytes;
}

}  // namespace nibble::avx2
