// Every kernel set's matrix products against sums in double.
//
// The bound. A float32 sum of n products, in whatever order and whether or not each product is
// rounded by itself, is off by at most gamma_k * sum |x||w|, gamma_k = k u / (1 - k u), u = 2^-24,
// where k counts the roundings that one term can go through (Higham, Accuracy and Stability of
// Numerical Algorithms, 2nd ed., section 3.1). Here k <= cols (the additions) + 8 (the product, the
// sum of the parallel chains, the group's sum(x) times its zero point, its difference, the scale).
// Where the zero point is folded into the group's sum the terms are q x and zero x, so that
// |w| = scale * (q + zero) stands for |w'| in the sum.
//
// A weight of 8 bits may be two terms, one for each nibble.
//
// With bfloat16 activations a set may round w' to bfloat16 first (both are the format's
// definition); its result must then be that of the rounded weights, to the same bound.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "kernels/guarded_buffer.h"
#include "kernels/test_matrix.h"
#include "kernels/variants.h"

namespace nibble::test {
namespace {

constexpr std::int64_t kMatmulTokenCounts[] = {1, 2, 3, 5, 8, 9, 12, 13, 31, 64};
constexpr std::int64_t kMaxMatmulTokens = 64;
constexpr float kMatmulCanary = -12345.0F;

// Activations of kMaxMatmulTokens tokens, the rows `stride` apart, as float32 and as bfloat16.
struct Activations {
  std::int64_t stride;
  GuardedBuffer<float> f32;
  GuardedBuffer<BFloat16> bf16;
};

Activations make_activations(std::int64_t cols, std::mt19937& random) {
  const std::int64_t stride = cols + 3;
  // The last row ends at the guard page.
  const auto count = static_cast<std::size_t>((kMaxMatmulTokens - 1) * stride + cols);
  Activations x{stride, GuardedBuffer<float>(count), GuardedBuffer<BFloat16>(count)};
  std::normal_distribution<float> normal;
  for (std::size_t i = 0; i < count; ++i) {
    x.bf16[i] = to_bfloat16(normal(random));
    // Not a bfloat16 number, to show that float32 activations are not rounded.
    x.f32[i] = normal(random);
  }
  return x;
}

// What the products should be, (kMaxMatmulTokens, rows), and how far from it they may be.
struct Reference {
  std::vector<double> exact;
  std::vector<double> exact_bound;
  std::vector<double> rounded;  // with w' rounded to bfloat16
  std::vector<double> rounded_bound;
};

template <typename Activation>
Reference make_reference(const TestMatrix& matrix, const Activation* x, std::int64_t stride) {
  const std::int64_t rows = matrix.view.rows;
  const std::int64_t cols = matrix.view.cols;
  const std::int64_t terms = matrix.view.format == WeightFormat::kW8 ? 2 * cols : cols;
  const double k = static_cast<double>(terms + 8) * 0x1p-24;
  const double gamma = k / (1 - k);
  const double flushed = static_cast<double>(cols) * 0x1p-126;  // VDPBF16PS flushes subnormals
  std::vector<double> rounded_values(matrix.values.size());
  for (std::size_t i = 0; i < rounded_values.size(); ++i) {
    rounded_values[i] = round_to_bfloat16(static_cast<float>(matrix.values[i]));
  }
  Reference reference;
  for (std::int64_t t = 0; t < kMaxMatmulTokens; ++t) {
    for (std::int64_t r = 0; r < rows; ++r) {
      double exact = 0;
      double magnitude = 0;
      double rounded = 0;
      double rounded_magnitude = 0;
      for (std::int64_t c = 0; c < cols; ++c) {
        double value;
        if constexpr (std::is_same_v<Activation, float>) {
          value = x[t * stride + c];
        } else {
          value = to_float(x[t * stride + c]);
        }
        const auto at = static_cast<std::size_t>(r * cols + c);
        exact += value * matrix.values[at];
        magnitude += std::fabs(value) * matrix.magnitudes[at];
        rounded += value * rounded_values[at];
        rounded_magnitude += std::fabs(value * rounded_values[at]);
      }
      reference.exact.push_back(exact);
      reference.exact_bound.push_back(gamma * magnitude + flushed);
      reference.rounded.push_back(rounded);
      reference.rounded_bound.push_back(gamma * rounded_magnitude + flushed);
    }
  }
  return reference;
}

// The worst error as a share of its bound; NaN counts as infinite.
double worst(const std::vector<double>& expected, const std::vector<double>& bound,
             const float* out, std::int64_t out_stride, std::int64_t tokens, std::int64_t rows) {
  double result = 0;
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t r = 0; r < rows; ++r) {
      const auto at = static_cast<std::size_t>(t * rows + r);
      const double share = std::fabs(out[t * out_stride + r] - expected[at]) / bound[at];
      result = share <= result ? result : std::isnan(share) ? INFINITY : share;
    }
  }
  return result;
}

class MatmulTest : public testing::TestWithParam<const KernelSet*> {
 protected:
  const KernelSet& kernels() const { return *GetParam(); }

  // Runs one task into a fresh buffer of canaries.
  GuardedBuffer<float> run(void (*matmul)(const MatmulTask&), MatmulTask task,
                           std::int64_t row_begin, std::int64_t row_end) {
    GuardedBuffer<float> out(
        static_cast<std::size_t>((task.tokens - 1) * task.out_stride + task.weight.rows));
    std::fill_n(out.data(), out.size(), kMatmulCanary);
    GuardedBuffer<std::byte> scratch((kernels().matmul_scratch_bytes(task.weight.cols) + 63) / 64 *
                                     64);
    task.row_begin = row_begin;
    task.row_end = row_end;
    task.out = out.data();
    task.scratch = scratch.data();
    matmul(task);
    return out;
  }

  // Only rows begin .. end of `part` were written, and they are those of `whole`, bit for bit.
  static void expect_same_rows(const GuardedBuffer<float>& whole, const GuardedBuffer<float>& part,
                               const MatmulTask& task, std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(part.size()); ++i) {
      const std::int64_t row = i % task.out_stride;
      const bool written = row >= begin && row < end;
      const float expected = written ? whole[static_cast<std::size_t>(i)] : kMatmulCanary;
      ASSERT_EQ(std::memcmp(&part[static_cast<std::size_t>(i)], &expected, sizeof expected), 0)
          << "row " << row << " of the task for rows " << begin << " to " << end;
    }
  }

  void check_splits(void (*matmul)(const MatmulTask&), const MatmulTask& task,
                    const GuardedBuffer<float>& whole) {
    const std::int64_t rows = task.weight.rows;
    expect_same_rows(whole, whole, task, 0, rows);
    for (std::int64_t begin = 0; begin < rows; begin += 32) {
      const std::int64_t middle = std::min(begin + 16, rows);
      const std::int64_t end = std::min(begin + 32, rows);
      expect_same_rows(whole, run(matmul, task, begin, middle), task, begin, middle);
      expect_same_rows(whole, run(matmul, task, begin, end), task, begin, end);
    }
  }

  template <typename Activation>
  void check(const TestMatrix& matrix, const Activation* x, std::int64_t x_stride) {
    constexpr bool bf16 = std::is_same_v<Activation, BFloat16>;
    const auto format = static_cast<int>(matrix.view.format);
    const auto matmul = bf16 ? kernels().matmul_bf16[format] : kernels().matmul_f32[format];
    const Reference reference = make_reference(matrix, x, x_stride);
    const bool packed = matrix.view.group_size > 0;
    const std::int64_t groups = packed ? matrix.view.cols / matrix.view.group_size : 0;
    GuardedBuffer<float> sums(static_cast<std::size_t>(kMaxMatmulTokens * groups));
    for (std::int64_t t = 0; packed && t < kMaxMatmulTokens; ++t) {
      if constexpr (bf16) {
        kernels().group_sums_bf16(x + t * x_stride, matrix.view.cols, matrix.view.group_size,
                                  sums.data() + t * groups);
      } else {
        kernels().group_sums_f32(x + t * x_stride, matrix.view.cols, matrix.view.group_size,
                                 sums.data() + t * groups);
      }
    }
    for (const std::int64_t tokens : kMatmulTokenCounts) {
      SCOPED_TRACE(std::string(bf16 ? "bf16" : "f32") + " activations, tokens " +
                   std::to_string(tokens));
      const std::int64_t rows = matrix.view.rows;
      const MatmulTask task{matrix.view, x,    x_stride, sums.data(), tokens,
                            0,           rows, nullptr,  rows + 5,    nullptr};
      const GuardedBuffer<float> out = run(matmul, task, 0, rows);
      const double exact =
          worst(reference.exact, reference.exact_bound, out.data(), task.out_stride, tokens, rows);
      const double rounded = worst(reference.rounded, reference.rounded_bound, out.data(),
                                   task.out_stride, tokens, rows);
      EXPECT_LE(bf16 ? std::min(exact, rounded) : exact, 1.0);
      if (tokens == 1 || tokens == 5 || tokens == 13) check_splits(matmul, task, out);
    }
  }

  void check_matrix(const MatrixSpec& spec) {
    SCOPED_TRACE(spec.name());
    std::mt19937 random(static_cast<unsigned>(spec.rows * 10007 + spec.cols));
    const TestMatrix matrix = make_matrix(spec, random);
    const Activations x = make_activations(spec.cols, random);
    check(matrix, x.f32.data(), x.stride);
    if (kernels().matmul_bf16[static_cast<int>(spec.format)] != nullptr) {
      check(matrix, x.bf16.data(), x.stride);
    }
  }
};

TEST_P(MatmulTest, DenseWeights) {
  for (const WeightFormat format : {WeightFormat::kF32, WeightFormat::kF16, WeightFormat::kBF16}) {
    for (const std::int64_t rows : {1, 15, 16, 17, 33, 48, 100}) {
      for (const std::int64_t cols : {1, 7, 31, 32, 33, 64, 96, 288, 1000}) {
        if (rows > 33 && cols > 96 && cols != 288) continue;  // nothing new, and slow
        check_matrix({format, rows, cols});
      }
    }
  }
}

TEST_P(MatmulTest, PackedWeights) {
  for (const WeightFormat format : {WeightFormat::kW4, WeightFormat::kW3}) {
    for (const int group_size : {32, 64, 128}) {
      for (const std::int64_t rows : {1, 15, 16, 17, 33, 48, 100}) {
        for (const std::int64_t cols : {32, 64, 96, 128, 384, 1152}) {
          if (cols % group_size != 0 || (rows > 33 && cols > 384)) continue;
          check_matrix({format, rows, cols, group_size});
        }
      }
    }
  }
}

TEST_P(MatmulTest, Int8Weights) {
  for (const std::int64_t rows : {1, 15, 16, 17, 33, 48, 100}) {
    for (const std::int64_t cols : {1, 2, 3, 4, 5, 7, 31, 32, 33, 66, 96, 287, 1000}) {
      if (rows > 33 && cols > 96 && cols != 287) continue;
      check_matrix({WeightFormat::kW8, rows, cols});
    }
  }
}

// More columns than one panel holds.
TEST_P(MatmulTest, ManyColumns) {
  check_matrix({WeightFormat::kF32, 17, 4101});
  check_matrix({WeightFormat::kF16, 17, 2049});
  check_matrix({WeightFormat::kBF16, 33, 4101});
  check_matrix({WeightFormat::kW4, 17, 4352, 128});
  check_matrix({WeightFormat::kW3, 17, 4160, 32});
  check_matrix({WeightFormat::kW8, 17, 4102});
}

// Intel's VDPBF16PS adds the product of the odd column, rounds, adds that of the even one, rounds:
// the multiply-adds that take its place there give the same bits.
class Avx512Products : public ::testing::Test {
 protected:
  std::vector<float> run(const KernelSet& kernels, const MatmulTask& task) {
    std::vector<float> out(static_cast<std::size_t>(task.tokens * task.weight.rows), kMatmulCanary);
    GuardedBuffer<std::byte> scratch((kernels.matmul_scratch_bytes(task.weight.cols) + 63) / 64 *
                                     64);
    MatmulTask own = task;
    own.row_end = task.weight.rows;
    own.out = out.data();
    own.out_stride = task.weight.rows;
    own.scratch = scratch.data();
    kernels.matmul_bf16[static_cast<int>(task.weight.format)](own);
    return out;
  }

  void expect_same_bits(const MatrixSpec& spec) {
    std::mt19937 random(static_cast<unsigned>(spec.rows * 10007 + spec.cols));
    const TestMatrix matrix = make_matrix(spec, random);
    const Activations x = make_activations(spec.cols, random);
    const std::int64_t groups = spec.group_size > 0 ? spec.cols / spec.group_size : 0;
    std::vector<float> sums(static_cast<std::size_t>(kMaxMatmulTokens * groups));
    std::normal_distribution<float> normal;
    for (float& sum : sums) sum = normal(random);
    for (const std::int64_t tokens : kMatmulTokenCounts) {
      const MatmulTask task{.weight = matrix.view,
                            .x = x.bf16.data(),
                            .x_stride = x.stride,
                            .x_sums = sums.data(),
                            .tokens = tokens};
      EXPECT_EQ(run(avx512_dot_kernels(), task), run(avx512_wide_kernels(), task))
          << spec.name() << ", tokens " << tokens;
    }
  }
};

TEST_F(Avx512Products, MultiplyAddsGiveTheBitsOfTheDotProduct) {
  const auto sets = supported_kernels();
  if (std::find(sets.begin(), sets.end(), &kAvx512Kernels) == sets.end()) {
    GTEST_SKIP() << "this machine has no AVX-512";
  }
  if (__builtin_cpu_is("intel") == 0) GTEST_SKIP() << "a VDPBF16PS of its own order";
  expect_same_bits({WeightFormat::kW4, 48, 384, 128});
  expect_same_bits({WeightFormat::kW4, 100, 1152, 32});
  expect_same_bits({WeightFormat::kW3, 33, 640, 64});
  expect_same_bits({WeightFormat::kW8, 100, 287});
  expect_same_bits({WeightFormat::kBF16, 100, 1001});
}

INSTANTIATE_TEST_SUITE_P(Sets, MatmulTest, testing::ValuesIn(kernel_variants()),
                         [](const auto& set) { return std::string(set.param->name); });

}  // namespace
}  // namespace nibble::test
