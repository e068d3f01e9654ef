#include <gtest/gtest.h>

#include <cmath>

#include "nibble/kernels/select.h"
#include "nibble/layers/mlp.h"
#include "nibble/layers/norm.h"
#include "nibble/layers/rope.h"

namespace nibble {
namespace {

TEST(RopeAngles, AreThoseOfThePositions) {
  Rope rope({1.0f, 0.25f, 0.001f});
  EXPECT_EQ(rope.half(), 3);
  for (int round = 0; round < 2; ++round, rope.clear()) {
    std::int64_t row = 0;
    for (const std::int64_t start : {0, 5, 100000}) {  // of three sequences
      rope.append(start, 4);
      for (std::int64_t t = 0; t < 4; ++t, ++row) {
        for (int i = 0; i < 3; ++i) {
          const float frequency = i == 0 ? 1.0f : i == 1 ? 0.25f : 0.001f;
          const float angle = static_cast<float>(start + t) * frequency;
          EXPECT_NEAR(rope.cos(row)[i], std::cos(static_cast<double>(angle)), 1e-7);
          EXPECT_NEAR(rope.sin(row)[i], std::sin(static_cast<double>(angle)), 1e-7);
        }
      }
    }
  }
}

std::vector<float> wave(std::size_t size, float step) {
  std::vector<float> values(size);
  for (std::size_t i = 0; i < size; ++i) values[i] = std::sin(step * static_cast<float>(i + 1));
  return values;
}

TEST(Norm, RmsFollowsTheFormulaOnEveryRow) {
  const Norm norm{.weight = wave(37, 0.3f), .eps = 0.01f};
  for (const KernelSet* kernels : supported_kernels()) {
    ThreadPool pool(2);
    Compute compute(*kernels, pool);
    for (const std::int64_t tokens : {1, 3, 20}) {  // few rows, and many: on all threads
      const std::vector<float> x = wave(static_cast<std::size_t>(tokens) * 37, 0.7f);
      std::vector<float> out(x.size());
      norm.apply(compute, x.data(), tokens, out.data());
      std::vector<float> in_place = x;
      norm.apply(compute, in_place.data(), tokens, in_place.data());
      EXPECT_EQ(in_place, out);
      for (std::size_t t = 0; t < static_cast<std::size_t>(tokens); ++t) {
        double squares = 0;
        for (std::size_t i = 0; i < 37; ++i) squares += std::pow(x[t * 37 + i], 2);
        const double scale = 1 / std::sqrt(squares / 37 + 0.01);
        for (std::size_t i = 0; i < 37; ++i) {
          const double expected = x[t * 37 + i] * scale * norm.weight[i];
          // 37 additions and a few more roundings.
          EXPECT_NEAR(out[t * 37 + i], expected, 42 * 0x1p-24 * std::abs(expected));
        }
      }
    }
  }
}

TEST(Norm, LayerNormFollowsTheFormulaOnEveryRow) {
  const Norm norm{
      .kind = NormKind::kLayer, .weight = wave(37, 0.3f), .bias = wave(37, 0.9f), .eps = 0.01f};
  for (const KernelSet* kernels : supported_kernels()) {
    ThreadPool pool(2);
    Compute compute(*kernels, pool);
    for (const std::int64_t tokens : {1, 3, 20}) {
      const std::vector<float> x = wave(static_cast<std::size_t>(tokens) * 37, 0.7f);
      std::vector<float> out(x.size());
      norm.apply(compute, x.data(), tokens, out.data());
      for (std::size_t t = 0; t < static_cast<std::size_t>(tokens); ++t) {
        double sum = 0;
        double squares = 0;
        for (std::size_t i = 0; i < 37; ++i) sum += x[t * 37 + i];
        for (std::size_t i = 0; i < 37; ++i) squares += std::pow(x[t * 37 + i] - sum / 37, 2);
        const double scale = 1 / std::sqrt(squares / 37 + 0.01);
        for (std::size_t i = 0; i < 37; ++i) {
          const double normed = (x[t * 37 + i] - sum / 37) * scale;
          // 37 additions each for mean and variance, of values up to 1, and a few roundings.
          EXPECT_NEAR(out[t * 37 + i], normed * norm.weight[i] + norm.bias[i],
                      90 * 0x1p-24 * (1 + scale));
        }
      }
    }
  }
}

/// A dense float32 layer and the values of its weight.
struct DenseLayer {
  std::vector<float> values;
  Linear linear;

  DenseLayer(std::int64_t out, std::int64_t in, float step, bool bias)
      : values(wave(static_cast<std::size_t>(out * in), step)) {
    linear.weight.view = {{WeightFormat::kF32, out, in}, {values.data()}};
    if (bias) linear.bias = wave(static_cast<std::size_t>(out), 2 * step);
  }

  /// A layer of its own with the same weight, its input not rounded.
  Linear layer() const {
    Linear out;
    out.weight.view = linear.weight.view;
    out.bias = linear.bias;
    out.activations = ActivationType::kF32;
    return out;
  }

  std::vector<double> apply(const std::vector<double>& x) const {
    std::vector<double> out;
    const auto in = static_cast<std::size_t>(linear.in_features());
    for (std::size_t row = 0; row < static_cast<std::size_t>(linear.out_features()); ++row) {
      double sum = linear.bias.empty() ? 0 : linear.bias[row];
      for (std::size_t c = 0; c < in; ++c) sum += values[row * in + c] * x[c];
      out.push_back(sum);
    }
    return out;
  }
};

TEST(Mlp, AddsDownOfSiluOfGateTimesUp) {
  constexpr std::int64_t kHidden = 13;
  constexpr std::int64_t kInner = 29;
  for (const bool bias : {false, true}) {
    DenseLayer gate(kInner, kHidden, 0.31f, bias);
    DenseLayer up(kInner, kHidden, 0.17f, bias);
    DenseLayer down(kHidden, kInner, 0.23f, bias);
    for (const KernelSet* kernels : supported_kernels()) {
      ThreadPool pool(2);
      Compute compute(*kernels, pool);
      Buffer scratch;
      Mlp mlp;
      mlp.gate = gate.layer();
      mlp.up = up.layer();
      mlp.down = down.layer();
      for (const std::int64_t tokens : {1, 30, 2}) {
        const std::vector<float> x = wave(static_cast<std::size_t>(tokens * kHidden), 0.9f);
        std::vector<float> out = wave(x.size(), 0.4f);
        const std::vector<float> before = out;
        mlp.add_to(compute, {x.data(), tokens}, scratch, out.data());
        for (std::int64_t t = 0; t < tokens; ++t) {
          const std::vector<double> row(x.begin() + t * kHidden, x.begin() + (t + 1) * kHidden);
          const std::vector<double> gated = gate.apply(row);
          std::vector<double> inner = up.apply(row);
          for (std::size_t i = 0; i < inner.size(); ++i) {
            inner[i] *= gated[i] / (1 + std::exp(-gated[i]));
          }
          std::vector<double> expected = down.apply(inner);
          for (std::size_t i = 0; i < expected.size(); ++i) {
            expected[i] += before[static_cast<std::size_t>(t * kHidden) + i];
          }
          for (std::size_t i = 0; i < expected.size(); ++i) {
            // 13- and 29-term sums of terms below 30 in magnitude.
            EXPECT_NEAR(out[static_cast<std::size_t>(t * kHidden) + i], expected[i],
                        (13 + 29 + 10) * 30 * 0x1p-24);
          }
        }
      }
    }
  }
}

TEST(Mlp, WithoutAGateAddsDownOfTheActivationOfUp) {
  constexpr std::int64_t kHidden = 13;
  constexpr std::int64_t kInner = 29;
  DenseLayer up(kInner, kHidden, 0.17f, true);
  DenseLayer down(kHidden, kInner, 0.23f, true);
  for (const KernelSet* kernels : supported_kernels()) {
    ThreadPool pool(2);
    Compute compute(*kernels, pool);
    Buffer scratch;
    const Mlp mlp{.gate = std::nullopt,
                  .up = up.layer(),
                  .down = down.layer(),
                  .activation = Activation::kRelu};
    for (const std::int64_t tokens : {1, 30, 2}) {
      std::vector<float> x = wave(static_cast<std::size_t>(tokens * kHidden), 0.9f);
      const std::vector<float> before = x;
      mlp.add_to(compute, {x.data(), tokens}, scratch, x.data());  // in place
      for (std::int64_t t = 0; t < tokens; ++t) {
        const auto row = before.begin() + t * kHidden;
        std::vector<double> inner = up.apply({row, row + kHidden});
        for (double& value : inner) value = std::max(value, 0.0);
        const std::vector<double> expected = down.apply(inner);
        for (std::int64_t i = 0; i < kHidden; ++i) {
          EXPECT_NEAR(x[static_cast<std::size_t>(t * kHidden + i)],
                      expected[static_cast<std::size_t>(i)] + row[i],
                      (13 + 29 + 10) * 30 * 0x1p-24);
        }
      }
    }
  }
}

}  // namespace
}  // namespace nibble
