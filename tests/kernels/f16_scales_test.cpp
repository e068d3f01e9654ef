// Packed weights with float16 scales: to the bit what the same scales as bfloat16 give, which
// float16 holds exactly here, with every kernel set, kind of activations and number of tokens.
#include <gtest/gtest.h>

#include <cstring>

#include "kernels/guarded_buffer.h"
#include "kernels/test_matrix.h"
#include "kernels/variants.h"

namespace nibble::test {
namespace {

using Matmul = void (*)(const MatmulTask&);

constexpr std::int64_t kTokenCounts[] = {1, 2, 7, 8, 9, 30};
constexpr std::int64_t kMaxTokens = 30;

class F16Scales : public ::testing::TestWithParam<const KernelSet*> {
 protected:
  static std::vector<float> product(const KernelSet& kernels, Matmul matmul, MatmulTask task) {
    std::vector<float> out(static_cast<std::size_t>(task.tokens * task.weight.rows), -1.0F);
    GuardedBuffer<std::uint8_t> scratch(kernels.matmul_scratch_bytes(task.weight.cols) + 64);
    const auto address = reinterpret_cast<std::uintptr_t>(scratch.data());
    task.scratch = reinterpret_cast<std::byte*>((address + 63) / 64 * 64);
    task.row_end = task.weight.rows;
    task.out = out.data();
    task.out_stride = task.weight.rows;
    matmul(task);
    return out;
  }

  /// The task with each type of scales.
  void expect_same(Matmul matmul, MatmulTask task, const TestMatrix& matrix) const {
    GuardedBuffer<Float16> scales(matrix.scales.size());
    for (std::size_t i = 0; i < scales.size(); ++i) {
      scales[i] = to_float16(to_float(matrix.scales[i]));
      ASSERT_EQ(to_float(scales[i]), to_float(matrix.scales[i]));
    }
    for (const std::int64_t tokens : kTokenCounts) {
      task.tokens = tokens;
      task.weight = matrix.view;
      const std::vector<float> expected = product(*GetParam(), matmul, task);
      task.weight.scale_type = ScaleType::kF16;
      task.weight.parts[kScalesPart] = scales.data();
      EXPECT_EQ(product(*GetParam(), matmul, task), expected) << tokens << " tokens";
    }
  }

  void check(const MatrixSpec& spec) const {
    SCOPED_TRACE(spec.name());
    const KernelSet& kernels = *GetParam();
    std::mt19937 random(3);
    const TestMatrix matrix = make_matrix(spec, random);
    const auto format = static_cast<int>(spec.format);
    const std::int64_t groups = spec.cols / spec.group_size;
    const auto elements = static_cast<std::size_t>(kMaxTokens * spec.cols);
    const auto figures = static_cast<std::size_t>(kMaxTokens * groups);
    std::vector<float> x(elements);
    std::vector<BFloat16> rounded(elements);
    std::vector<std::int8_t> codes(elements);
    std::vector<float> sums(figures);
    std::vector<float> scales(figures);
    std::vector<std::int32_t> code_sums(figures);
    std::normal_distribution<float> normal;
    for (float& value : x) value = normal(random);
    kernels.to_bf16(x.data(), std::ssize(x), rounded.data());
    kernels.group_sums_f32(x.data(), std::ssize(x), spec.group_size, sums.data());
    for (std::int64_t t = 0; t < kMaxTokens; ++t) {
      kernels.quantize_int8({.x = x.data() + t * spec.cols,
                             .cols = spec.cols,
                             .group_size = spec.group_size,
                             .format = spec.format,
                             .codes = codes.data() + t * spec.cols,
                             .scales = scales.data() + t * groups,
                             .sums = code_sums.data() + t * groups});
    }
    MatmulTask task{};
    task.x = x.data();
    task.x_stride = spec.cols;
    task.x_sums = sums.data();
    task.x_scales = scales.data();
    task.x_code_sums = code_sums.data();
    expect_same(kernels.matmul_f32[format], task, matrix);
    task.x = rounded.data();
    expect_same(kernels.matmul_bf16[format], task, matrix);
    task.x = codes.data();
    expect_same(kernels.matmul_int8[format], task, matrix);
  }
};

TEST_P(F16Scales, AreBFloat16OnesToTheBit) {
  for (const WeightFormat format : {WeightFormat::kW4, WeightFormat::kW3}) {
    for (const int group_size : {32, 64, 128}) {
      check({.format = format, .rows = 50, .cols = 384, .group_size = group_size});
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kernels, F16Scales, ::testing::ValuesIn(kernel_variants()),
                         [](const auto& set) { return std::string(set.param->name); });

}  // namespace
}  // namespace nibble::test
