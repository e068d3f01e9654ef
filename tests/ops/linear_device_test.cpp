// matmul() and gated_matmul() through a device that is not the CPU's kernels, against those.
#include "nibble/ops/linear_device.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/test_matrix.h"
#include "nibble/kernels/select.h"
#include "nibble/ops/cpu_device.h"
#include "nibble/ops/matmul.h"
#include "ops/float64_device.h"
#include "ops/random_rows.h"

namespace nibble {
namespace {

using test::Float64Device;
using test::make_matrix;
using test::random_rows;
using test::TestMatrix;

constexpr std::int64_t kDeviceCols = 128;
constexpr std::int64_t kRows = 37;

class Device : public ::testing::Test {
 protected:
  Device() {
    for (const auto& [format, group_size] :
         {std::pair(WeightFormat::kW4, 32), std::pair(WeightFormat::kW3, 128),
          std::pair(WeightFormat::kW8, 0), std::pair(WeightFormat::kBF16, 0),
          std::pair(WeightFormat::kF16, 0), std::pair(WeightFormat::kF32, 0)}) {
      matrices_.push_back(make_matrix({format, kRows, kDeviceCols, group_size}, random_));
    }
  }

  /// What a product of `x`, (tokens, kDeviceCols), can be at the most: the longest row of x times
  /// the longest of a weight (Cauchy-Schwarz), the norm of the layer, and a bias.
  double largest_product(const std::vector<float>& x, const RowNorm* norm) const {
    const auto longest = [](const auto& values) {
      double most = 0;
      for (std::size_t row = 0; row < values.size(); row += kDeviceCols) {
        double squares = 0;
        for (std::size_t c = row; c < row + kDeviceCols; ++c) squares += values[c] * values[c];
        most = std::max(most, std::sqrt(squares));
      }
      return most;
    };
    std::vector<float> rows = x;
    for (std::size_t at = 0; norm != nullptr && at < x.size(); at += kDeviceCols) {
      normalize_row(compute_.kernels(), *norm, x.data() + at, kDeviceCols, rows.data() + at);
    }
    double weights = 0;
    for (const TestMatrix& matrix : matrices_) {
      weights = std::max(weights, longest(matrix.magnitudes));
    }
    return longest(rows) * weights + longest(bias_);
  }

  /// run() by the test's device and by the CPU's, with nothing rounded, gives the same within
  /// `limit`.
  template <typename Run>
  void expect_the_same(double limit, const Run& run) {
    compute_.set_device(device_);
    const std::vector<float> found = run();
    compute_.set_device(cpu_device());
    const std::vector<float> expected = run();
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], limit) << i;
  }
  // Sums of kDeviceCols terms in float32, those of w8 of twice as many, and a few additions behind
  // them.
  static constexpr double kUnit = (2 * kDeviceCols + 16) * 0x1p-24;

  std::mt19937 random_{5};
  ThreadPool pool_{2};
  Compute compute_{select_kernels(), pool_};
  Float64Device device_;
  std::vector<TestMatrix> matrices_;
  std::vector<float> weight_ = random_rows(kDeviceCols, random_);
  std::vector<float> bias_ = random_rows(kDeviceCols, random_);
  RowNorm norm_{NormKind::kLayer, {weight_.data(), bias_.data(), 1e-5F}};
};

TEST_F(Device, IsTheCpusKernelsByDefault) {
  EXPECT_EQ(&compute_.device(), &cpu_device());
}

TEST_F(Device, ComputesProductsThatAddAndActivate) {
  for (const std::int64_t tokens : {1, 3, 20}) {
    const std::vector<float> x = random_rows(tokens * kDeviceCols, random_);
    for (const RowNorm* norm :
         {static_cast<const RowNorm*>(nullptr), static_cast<const RowNorm*>(&norm_)}) {
      expect_the_same(kUnit * largest_product(x, norm), [&] {
        const std::int64_t each = tokens * kRows;
        std::vector<float> out(static_cast<std::size_t>(std::ssize(matrices_) * each));
        for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(i % 11);
        std::vector<MatmulCall> calls;
        for (std::size_t i = 0; i < matrices_.size(); ++i) {
          MatmulCall call{.weight = &matrices_[i].view,
                          .out = out.data() + std::ssize(calls) * each,
                          .bias = i % 3 == 0 ? nullptr : bias_.data(),
                          .adds = i % 2 == 0,
                          .activations = ActivationType::kF32};
          if (i >= 2) call.activation = i == 2 ? Activation::kRelu : Activation::kSilu;
          calls.push_back(call);
        }
        matmul(compute_, {x.data(), tokens, norm}, calls);
        return out;
      });
    }
  }
  EXPECT_EQ(device_.products_done(), 6 * 6);
}

TEST_F(Device, ComputesGatedProducts) {
  InputOrder backwards{.in_features = kDeviceCols, .columns = {}};
  for (std::int32_t c = 0; c < kDeviceCols; ++c) backwards.columns.push_back(kDeviceCols - 1 - c);
  for (const std::int64_t tokens : {1, 20}) {
    const std::vector<float> x = random_rows(tokens * kDeviceCols, random_);
    for (const InputOrder* order :
         {static_cast<const InputOrder*>(nullptr), static_cast<const InputOrder*>(&backwards)}) {
      for (std::size_t up = 1; up < matrices_.size(); ++up) {
        // An error of one factor (GELU is no steeper than 1.13) times the other, twice.
        const double largest = largest_product(x, &norm_);
        expect_the_same(2.3 * kUnit * largest * largest, [&] {
          std::vector<float> out(static_cast<std::size_t>(tokens * kRows));
          gated_matmul(
              compute_, {x.data(), tokens, &norm_},
              {.weight = &matrices_[0].view,
               .out = nullptr,
               .bias = bias_.data(),
               .activation = Activation::kGelu,
               .order = order,
               .activations = ActivationType::kF32},
              {.weight = &matrices_[up].view, .out = nullptr, .activations = ActivationType::kF32},
              out.data());
          return out;
        });
      }
    }
  }
}

}  // namespace
}  // namespace nibble
