// matmul() against a plain loop in float64 over the values that the weights stand for.
#include "nibble/ops/matmul.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cmath>
#include <cstring>

#include "kernels/test_matrix.h"
#include "nibble/kernels/select.h"
#include "nibble/ops/rowwise.h"

namespace nibble {
namespace {

using test::make_matrix;
using test::MatrixSpec;
using test::TestMatrix;

std::vector<float> random_input(std::int64_t elements) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0.0f, 1.0f);
  std::vector<float> x(static_cast<std::size_t>(elements));
  for (float& value : x) value = normal(random);
  return x;
}

/// How to run the products.
struct Arrangement {
  const KernelSet* kernels;
  ActivationType activations;
  int threads = 2;
};

/// The results of one matmul() call with all matrices, (tokens, rows) each.
std::vector<std::vector<float>> multiply(const Arrangement& arrangement,
                                         const std::vector<TestMatrix>& matrices,
                                         const std::vector<float>& x, std::int64_t tokens) {
  ThreadPool pool(arrangement.threads);
  Compute compute(*arrangement.kernels, pool);
  std::vector<std::vector<float>> outs;
  for (const TestMatrix& matrix : matrices) {
    outs.emplace_back(static_cast<std::size_t>(tokens * matrix.view.rows), -99.0f);
  }
  std::vector<MatmulCall> calls;
  for (std::size_t i = 0; i < matrices.size(); ++i) {
    calls.push_back({.weight = &matrices[i].view,
                     .out = outs[i].data(),
                     .activations = arrangement.activations});
  }
  matmul(compute, {x.data(), tokens}, calls);
  return outs;
}

/// What goes into the product for row t of x, (tokens, cols): rounded as the definition of the
/// activations says. int8: per group (a row of w8 is one) or all of x to multiples of max(max|x|,
/// 1e-5) / 127; bfloat16 for weights that are not integers.
std::vector<double> rounded_input(const std::vector<float>& all, std::int64_t t,
                                  const WeightView& weight, ActivationType activations) {
  const float* x = all.data() + t * weight.cols;
  std::vector<double> out(x, x + weight.cols);
  const bool dense = weight.group_size == 0 && weight.format != WeightFormat::kW8;
  if (activations == ActivationType::kF32) return out;
  if (activations == ActivationType::kBF16 || dense) {
    for (double& value : out) value = round_to_bfloat16(static_cast<float>(value));
    return out;
  }
  const std::int64_t group_size = weight.group_size > 0 ? weight.group_size : weight.cols;
  for (std::int64_t begin = 0; begin < weight.cols; begin += group_size) {
    float most = 1e-5F;
    if (activations == ActivationType::kInt8Tensor) {
      for (const float value : all) most = std::max(most, std::fabs(value));
    }
    for (std::int64_t c = begin; c < begin + group_size; ++c)
      most = std::max(most, std::fabs(x[c]));
    const float scale = most / 127.0F;
    for (std::int64_t c = begin; c < begin + group_size; ++c) {
      out[static_cast<std::size_t>(c)] = static_cast<double>(std::nearbyint(x[c] / scale)) * scale;
    }
  }
  return out;
}

/// Unit of rounding of a result, relative to the sum of the terms' magnitudes: the float32 sums of
/// `cols` terms in any order cost cols / 2^24, the products and the scaling of groups a few more.
/// Where a kernel rounds a packed weight to bfloat16 (which the definition allows), 2^-9 more. A
/// weight of 8 bits may be two terms. Sums of a group of integers are exact with int8 activations.
double tolerance(const WeightView& weight, ActivationType activations) {
  const bool packed = weight.group_size > 0;
  const bool is_w8 = weight.format == WeightFormat::kW8;
  if (is_int8(activations) && (packed || is_w8)) {
    const std::int64_t groups = packed ? weight.cols / weight.group_size : 1;
    return static_cast<double>(groups + 3) * 0x1p-24;
  }
  const double sums = static_cast<double>((is_w8 ? 2 : 1) * weight.cols + 8) * 0x1p-24;
  return packed && activations == ActivationType::kBF16 ? sums + 0x1p-9 : sums;
}

void expect_products(const Arrangement& arrangement, const std::vector<TestMatrix>& matrices,
                     std::int64_t tokens) {
  const std::int64_t cols = matrices[0].view.cols;
  const std::vector<float> x = random_input(tokens * cols);
  const auto outs = multiply(arrangement, matrices, x, tokens);
  for (std::size_t i = 0; i < matrices.size(); ++i) {
    const TestMatrix& matrix = matrices[i];
    for (std::int64_t t = 0; t < tokens; ++t) {
      const std::vector<double> input = rounded_input(x, t, matrix.view, arrangement.activations);
      for (std::int64_t row = 0; row < matrix.view.rows; ++row) {
        double sum = 0;
        double magnitude = 0;
        for (std::int64_t c = 0; c < cols; ++c) {
          const double value = input[static_cast<std::size_t>(c)];
          const auto at = static_cast<std::size_t>(row * cols + c);
          sum += value * matrix.values[at];
          magnitude += std::abs(value) * matrix.magnitudes[at];
        }
        const float found = outs[i][static_cast<std::size_t>(t * matrix.view.rows + row)];
        ASSERT_NEAR(found, sum, magnitude * tolerance(matrix.view, arrangement.activations))
            << arrangement.kernels->name << " matrix " << i << " of " << matrices.size()
            << ", token " << t << ", row " << row;
      }
    }
  }
}

class Matmul : public ::testing::TestWithParam<std::tuple<const KernelSet*, ActivationType>> {
 protected:
  Arrangement arrangement() const { return {std::get<0>(GetParam()), std::get<1>(GetParam())}; }
  std::mt19937 random_{1};
};

constexpr std::array kTokens = {1, 2, 7, 8, 9, 33, 130};

TEST_P(Matmul, DenseOfOddSizes) {
  for (const WeightFormat format : {WeightFormat::kF32, WeightFormat::kF16, WeightFormat::kBF16}) {
    for (const auto& [rows, cols] : {std::pair(1, 1), std::pair(5, 3), std::pair(17, 31),
                                     std::pair(33, 77), std::pair(100, 129)}) {
      std::vector<TestMatrix> matrices;
      matrices.push_back(make_matrix({format, rows, cols}, random_));
      for (const int tokens : kTokens) expect_products(arrangement(), matrices, tokens);
    }
  }
}

TEST_P(Matmul, PackedWithOddRows) {
  for (const WeightFormat format : {WeightFormat::kW4, WeightFormat::kW3}) {
    for (const int group_size : {32, 64, 128}) {
      for (const int rows : {1, 16, 43}) {
        std::vector<TestMatrix> matrices;
        matrices.push_back(make_matrix({format, rows, 384, group_size}, random_));
        for (const int tokens : kTokens) expect_products(arrangement(), matrices, tokens);
      }
    }
  }
}

TEST_P(Matmul, Int8WeightsOfOddSizes) {
  for (const auto& [rows, cols] :
       {std::pair(1, 1), std::pair(5, 3), std::pair(33, 77), std::pair(100, 129)}) {
    std::vector<TestMatrix> matrices;
    matrices.push_back(make_matrix({WeightFormat::kW8, rows, cols}, random_));
    for (const int tokens : kTokens) expect_products(arrangement(), matrices, tokens);
  }
}

TEST_P(Matmul, MixedFormatsAndGroupSizesInOneCall) {
  std::vector<TestMatrix> matrices;
  for (const MatrixSpec& spec :
       {MatrixSpec{WeightFormat::kW4, 50, 256, 32}, MatrixSpec{WeightFormat::kF32, 7, 256},
        MatrixSpec{WeightFormat::kW3, 33, 256, 128}, MatrixSpec{WeightFormat::kBF16, 19, 256},
        MatrixSpec{WeightFormat::kW4, 16, 256, 64}, MatrixSpec{WeightFormat::kF16, 130, 256},
        MatrixSpec{WeightFormat::kW8, 21, 256}, MatrixSpec{WeightFormat::kW4, 40, 256, 32}}) {
    matrices.push_back(make_matrix(spec, random_));
  }
  for (const int tokens : kTokens) expect_products(arrangement(), matrices, tokens);
}

TEST_P(Matmul, ThreadsDoNotChangeABit) {
  std::vector<TestMatrix> matrices;
  for (const MatrixSpec& spec :
       {MatrixSpec{WeightFormat::kW4, 500, 256, 32}, MatrixSpec{WeightFormat::kW3, 77, 256, 64},
        MatrixSpec{WeightFormat::kBF16, 700, 256}, MatrixSpec{WeightFormat::kF32, 90, 256},
        MatrixSpec{WeightFormat::kF16, 90, 256}}) {
    matrices.push_back(make_matrix(spec, random_));
  }
  for (const std::int64_t tokens : kTokens) {
    const std::vector<float> x = random_input(tokens * 256);
    Arrangement with = arrangement();
    with.threads = 1;
    const auto one = multiply(with, matrices, x, tokens);
    for (const int threads : {2, 3}) {
      with.threads = threads;
      EXPECT_EQ(multiply(with, matrices, x, tokens), one) << tokens << " tokens, " << threads;
    }
  }
}

/// Some numbers, (count), different from each other.
std::vector<float> ramp(std::int64_t count, float step) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < count; ++i) values.push_back(step * static_cast<float>(i % 37 - 18));
  return values;
}

// A bias and what stands in `out` are added to the product, in this order: one float32 addition
// each, so that the result is known to the last bit.
TEST_P(Matmul, AddsBiasesAndToWhatIsThere) {
  std::vector<TestMatrix> matrices;
  for (const MatrixSpec& spec :
       {MatrixSpec{WeightFormat::kW4, 90, 128, 32}, MatrixSpec{WeightFormat::kBF16, 33, 128},
        MatrixSpec{WeightFormat::kF32, 5, 128}}) {
    matrices.push_back(make_matrix(spec, random_));
  }
  for (const std::int64_t tokens : kTokens) {
    const std::vector<float> x = random_input(tokens * 128);
    const auto plain = multiply(arrangement(), matrices, x, tokens);
    for (const int threads : {1, 2, 3}) {
      ThreadPool pool(threads);
      Compute compute(*arrangement().kernels, pool);
      for (const bool adds : {false, true}) {
        for (const bool with_bias : {false, true}) {
          std::vector<std::vector<float>> outs;
          std::vector<std::vector<float>> biases;
          std::vector<MatmulCall> calls;
          for (const TestMatrix& matrix : matrices) {
            outs.push_back(ramp(tokens * matrix.view.rows, 0.5f));
            biases.push_back(ramp(matrix.view.rows, 0.3f));
          }
          for (std::size_t i = 0; i < matrices.size(); ++i) {
            calls.push_back({.weight = &matrices[i].view,
                             .out = outs[i].data(),
                             .bias = with_bias ? biases[i].data() : nullptr,
                             .adds = adds,
                             .activations = arrangement().activations});
          }
          matmul(compute, {x.data(), tokens}, calls);
          for (std::size_t i = 0; i < matrices.size(); ++i) {
            const auto rows = static_cast<std::size_t>(matrices[i].view.rows);
            std::vector<float> expected = plain[i];
            const std::vector<float> before = ramp(tokens * matrices[i].view.rows, 0.5f);
            for (std::size_t at = 0; at < expected.size(); ++at) {
              if (with_bias) expected[at] += biases[i][at % rows];
              if (adds) expected[at] += before[at];
            }
            EXPECT_EQ(outs[i], expected) << tokens << " tokens, matrix " << i;
          }
        }
      }
    }
  }
}

TEST_P(Matmul, NormalizesItsInput) {
  std::vector<TestMatrix> matrices;
  for (const MatrixSpec& spec :
       {MatrixSpec{WeightFormat::kW4, 90, 128, 32}, MatrixSpec{WeightFormat::kW8, 33, 128},
        MatrixSpec{WeightFormat::kF32, 5, 128}}) {
    matrices.push_back(make_matrix(spec, random_));
  }
  const std::vector<float> weight = ramp(128, 0.7f);
  const std::vector<float> bias = ramp(128, 0.2f);
  for (const NormKind kind : {NormKind::kRms, NormKind::kLayer}) {
    const RowNorm norm{kind, {weight.data(), bias.data(), 1e-5f}};
    for (const std::int64_t tokens : kTokens) {
      const std::vector<float> x = random_input(tokens * 128);
      std::vector<float> normed(x.size());
      for (std::int64_t t = 0; t < tokens; ++t) {
        normalize_row(*arrangement().kernels, norm, x.data() + t * 128, 128,
                      normed.data() + t * 128);
      }
      const auto expected = multiply(arrangement(), matrices, normed, tokens);
      ThreadPool pool(2);
      Compute compute(*arrangement().kernels, pool);
      std::vector<std::vector<float>> outs;
      std::vector<MatmulCall> calls;
      for (const TestMatrix& matrix : matrices) {
        outs.emplace_back(static_cast<std::size_t>(tokens * matrix.view.rows));
      }
      for (std::size_t i = 0; i < matrices.size(); ++i) {
        calls.push_back({.weight = &matrices[i].view,
                         .out = outs[i].data(),
                         .activations = arrangement().activations});
      }
      const std::vector<float> before = x;
      matmul(compute, {x.data(), tokens, &norm}, calls);
      EXPECT_EQ(outs, expected) << tokens << " tokens";
      EXPECT_EQ(x, before);
    }
  }
}

// Layers that share an input need not have it rounded the same: each gets what it gets alone.
TEST_P(Matmul, EachLayerHasItsOwnRounding) {
  std::vector<TestMatrix> matrices;
  for (const MatrixSpec& spec :
       {MatrixSpec{WeightFormat::kW4, 90, 128, 32}, MatrixSpec{WeightFormat::kW8, 33, 128},
        MatrixSpec{WeightFormat::kF32, 5, 128}, MatrixSpec{WeightFormat::kW3, 50, 128, 32}}) {
    matrices.push_back(make_matrix(spec, random_));
  }
  for (const std::int64_t tokens : kTokens) {
    const std::vector<float> x = random_input(tokens * 128);
    const KernelSet& kernels = *arrangement().kernels;
    ThreadPool pool(2);
    Compute compute(kernels, pool);
    std::vector<std::vector<float>> outs;
    std::vector<std::vector<float>> expected;
    std::vector<MatmulCall> calls;
    for (const ActivationType activations :
         {arrangement().activations, ActivationType::kInt8Tensor, ActivationType::kBF16}) {
      outs.clear();
      calls.clear();
      expected.clear();
      for (std::size_t i = 0; i < matrices.size(); ++i) {
        // Two layers of one rounding, two of another.
        const ActivationType type = i % 2 == 0 ? activations : ActivationType::kF32;
        outs.emplace_back(static_cast<std::size_t>(tokens * matrices[i].view.rows));
        calls.push_back(
            {.weight = &matrices[i].view, .out = outs.back().data(), .activations = type});
        const Arrangement alone{.kernels = &kernels, .activations = type};
        expected.push_back(multiply(alone, matrices, x, tokens)[i]);
      }
      matmul(compute, {x.data(), tokens}, calls);
      EXPECT_EQ(outs, expected) << tokens << " tokens, " << activation_type_name(activations);
    }
  }
}

// One scale for all rows: what is no number in one of them shows in every result.
TEST_P(Matmul, NaNSpoilsAScaleOfAllRows) {
  std::vector<TestMatrix> matrices;
  matrices.push_back(make_matrix({WeightFormat::kW8, 20, 100}, random_));
  const Arrangement tensor{.kernels = arrangement().kernels,
                           .activations = ActivationType::kInt8Tensor};
  for (const std::int64_t tokens : {3, 20}) {
    for (const std::int64_t bad : {std::int64_t{0}, std::int64_t{1}, tokens - 1}) {
      std::vector<float> x = random_input(tokens * 100);
      x[static_cast<std::size_t>(bad * 100 + 57)] = std::nanf("");
      const auto outs = multiply(tensor, matrices, x, tokens);
      for (const float value : outs[0]) {
        EXPECT_TRUE(std::isnan(value));
      }
    }
  }
}

TEST_P(Matmul, GatedIsSiluOfOneTimesTheOther) {
  for (const auto& [first, second] :
       {std::pair(MatrixSpec{WeightFormat::kW4, 90, 128, 32},
                  MatrixSpec{WeightFormat::kW3, 90, 128, 64}),
        std::pair(MatrixSpec{WeightFormat::kBF16, 37, 128},
                  MatrixSpec{WeightFormat::kW4, 37, 128, 128}),
        std::pair(MatrixSpec{WeightFormat::kF32, 5, 19}, MatrixSpec{WeightFormat::kF16, 5, 19})}) {
    std::vector<TestMatrix> matrices;
    matrices.push_back(make_matrix(first, random_));
    matrices.push_back(make_matrix(second, random_));
    const std::vector<float> bias = ramp(first.rows, 0.1f);
    for (const std::int64_t tokens : kTokens) {
      const std::vector<float> x = random_input(tokens * first.cols);
      const auto plain = multiply(arrangement(), matrices, x, tokens);
      std::vector<float> one;
      for (const int threads : {1, 2, 3}) {
        ThreadPool pool(threads);
        Compute compute(*arrangement().kernels, pool);
        std::vector<float> out(plain[0].size(), -99.0f);
        gated_matmul(
            compute, {x.data(), tokens},
            {.weight = &matrices[0].view,
             .out = nullptr,
             .bias = bias.data(),
             .activation = Activation::kSilu,
             .activations = arrangement().activations},
            {.weight = &matrices[1].view, .out = nullptr, .activations = arrangement().activations},
            out.data());
        for (std::size_t at = 0; at < out.size(); ++at) {
          const double g = plain[0][at] + bias[at % bias.size()];
          const double expected = g / (1 + std::exp(-g)) * plain[1][at];
          // exp() within a few units of 2^-23 (its argument's rounding is |g| of them), and four
          // roundings.
          const double unit = (8 + std::abs(g)) * 0x1p-23;
          ASSERT_NEAR(out[at], expected, unit * std::abs(expected) + 1e-30)
              << tokens << " tokens, element " << at;
        }
        if (one.empty()) one = out;
        EXPECT_EQ(out, one) << threads;
      }
    }
  }
}

// Buffers of one call serve the next, which may be larger, smaller or want other forms of x.
TEST_P(Matmul, CallsDoNotDisturbEachOther) {
  const std::vector<TestMatrix> small = [&] {
    std::vector<TestMatrix> out;
    out.push_back(make_matrix({WeightFormat::kW4, 20, 64, 32}, random_));
    return out;
  }();
  const std::vector<TestMatrix> large = [&] {
    std::vector<TestMatrix> out;
    out.push_back(make_matrix({WeightFormat::kF32, 20, 512}, random_));
    out.push_back(make_matrix({WeightFormat::kW3, 20, 512, 128}, random_));
    return out;
  }();
  ThreadPool pool(2);
  Compute compute(*arrangement().kernels, pool);
  const auto run = [&](const std::vector<TestMatrix>& matrices, std::int64_t tokens) {
    std::vector<float> out(static_cast<std::size_t>(tokens * 20));
    const MatmulCall call{.weight = &matrices.back().view,
                          .out = out.data(),
                          .activations = arrangement().activations};
    matmul(compute, {random_input(tokens * matrices[0].view.cols).data(), tokens}, {&call, 1});
    return out;
  };
  const std::vector<float> first = run(small, 3);
  run(large, 40);
  EXPECT_EQ(run(small, 3), first);
  run(large, 1);
  EXPECT_EQ(run(small, 3), first);
}

TEST_P(Matmul, NoTokensOrNoWeightsAreNothing) {
  ThreadPool pool(2);
  Compute compute(*arrangement().kernels, pool);
  matmul(compute, {nullptr, 5}, {});
  const TestMatrix matrix = make_matrix({WeightFormat::kBF16, 4, 8}, random_);
  const MatmulCall call{.weight = &matrix.view, .out = nullptr};
  matmul(compute, {nullptr, 0}, {&call, 1});
}

INSTANTIATE_TEST_SUITE_P(
    Kernels, Matmul,
    ::testing::Combine(::testing::ValuesIn(supported_kernels().begin(), supported_kernels().end()),
                       ::testing::Values(ActivationType::kBF16, ActivationType::kF32,
                                         ActivationType::kInt8, ActivationType::kInt8Tensor)),
    [](const auto& arrangement) {
      return std::string(std::get<0>(arrangement.param)->name) + "_" +
             activation_type_name(std::get<1>(arrangement.param));
    });

TEST(Rowwise, CallsEachRowOnce) {
  ThreadPool pool(3);
  Compute compute(select_kernels(), pool);
  for (const std::int64_t rows : {0, 1, 8, 9, 100}) {
    std::vector<std::atomic<int>> calls(static_cast<std::size_t>(rows));
    for_each_row(compute, rows, [&](std::int64_t row) { ++calls[static_cast<std::size_t>(row)]; });
    for (const auto& count : calls) EXPECT_EQ(count, 1);
  }
}

}  // namespace
}  // namespace nibble
