#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <numeric>

#include "core/error_matchers.h"
#include "nibble/kernels/select.h"
#include "nibble/layers/kv_cache.h"
#include "nibble/layers/mlp.h"
#include "nibble/layers/norm.h"
#include "nibble/layers/rope.h"

namespace nibble {
namespace {

using ::testing::HasSubstr;

/// Key (or value, plus 1000) of a position, head and element.
float entry(std::int64_t position, std::int64_t head, std::int64_t d) {
  return static_cast<float>(position * 100 + head * 10 + d);
}

class Cache : public ::testing::TestWithParam<KvType> {
 protected:
  static constexpr std::int64_t kHeads = 3;
  static constexpr std::int64_t kDim = 5;

  static constexpr std::int64_t kCapacity = 30;

  Compute compute_{select_kernels(), 2};
  KvCache cache_{{.n_layers = 2, .n_kv_heads = kHeads, .head_dim = kDim, .capacity = kCapacity},
                 GetParam()};

  void store(std::int64_t layer, std::int64_t first, std::int64_t tokens) {
    std::vector<float> keys;
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t head = 0; head < kHeads; ++head) {
        for (std::int64_t d = 0; d < kDim; ++d) {
          keys.push_back(entry(first + t, head, d) + static_cast<float>(layer) * 0.5f);
        }
      }
    }
    std::vector<float> values = keys;
    for (float& value : values) value = -value;
    cache_.store(compute_, layer, keys.data(), values.data(), tokens);
  }

  /// What the cache should hold of `x`, an element of a row of kDim with `largest` the largest |x|.
  static float held(float x, float largest) {
    switch (GetParam()) {
      case KvType::kF32:
        return x;
      case KvType::kBF16:
        return round_to_bfloat16(x);
      case KvType::kInt8:
        return std::nearbyint(x * (1.0f / (largest / 127.0f)));
    }
    return NAN;
  }

  static float at(const std::byte* data, std::int64_t index) {
    switch (GetParam()) {
      case KvType::kF32:
        return reinterpret_cast<const float*>(data)[index];
      case KvType::kBF16:
        return to_float(reinterpret_cast<const BFloat16*>(data)[index]);
      case KvType::kInt8:
        return reinterpret_cast<const std::int8_t*>(data)[index];
    }
    return NAN;
  }

  static void expect_scale(const float* scales, std::int64_t row, float largest) {
    if (GetParam() != KvType::kInt8) {
      EXPECT_EQ(scales, nullptr);
    } else {
      EXPECT_EQ(scales[row], largest / 127.0f);
    }
  }

  void expect_held(std::int64_t layer, std::int64_t positions) const {
    const KvLayerView view = cache_.layer(layer);
    EXPECT_EQ(view.capacity, kCapacity);
    EXPECT_EQ(view.type, GetParam());
    for (std::int64_t head = 0; head < kHeads; ++head) {
      for (std::int64_t p = 0; p < positions; ++p) {
        const std::int64_t row = head * view.capacity + p;
        const float shift = static_cast<float>(layer) * 0.5f;
        const float largest = entry(p, head, kDim - 1) + shift;
        expect_scale(view.key_scales, row, largest);
        expect_scale(view.value_scales, row, largest);
        for (std::int64_t d = 0; d < kDim; ++d) {
          const float expected = held(entry(p, head, d) + shift, largest);
          EXPECT_EQ(at(view.keys, row * kDim + d), expected) << layer << " " << head << " " << p;
          EXPECT_EQ(at(view.values, row * kDim + d), -expected) << layer << " " << head << " " << p;
        }
      }
    }
  }
};

TEST_P(Cache, StoresAdvancesAndTruncates) {
  EXPECT_EQ(cache_.capacity(), kCapacity);
  EXPECT_EQ(cache_.length(), 0);
  for (const std::int64_t layer : {0, 1}) store(layer, 0, 4);
  cache_.advance(4);
  EXPECT_EQ(cache_.length(), 4);
  for (const std::int64_t layer : {0, 1}) store(layer, 4, kCapacity - 4);  // on both threads
  cache_.advance(kCapacity - 4);
  for (const std::int64_t layer : {0, 1}) expect_held(layer, kCapacity);
  cache_.truncate(2);
  EXPECT_EQ(cache_.length(), 2);
  store(0, 2, 1);
  cache_.advance(1);
  expect_held(0, 3);
  cache_.truncate(0);
  EXPECT_EQ(cache_.length(), 0);
}

TEST_P(Cache, CountsItsBytes) {
  const std::int64_t row_bytes = GetParam() == KvType::kF32    ? kDim * 4
                                 : GetParam() == KvType::kBF16 ? kDim * 2
                                                               : kDim + 4;
  EXPECT_EQ(cache_.bytes_per_position(), 2 * 2 * kHeads * row_bytes);
}

INSTANTIATE_TEST_SUITE_P(Types, Cache,
                         ::testing::Values(KvType::kBF16, KvType::kF32, KvType::kInt8));

// A row of zeros stays one; NaN and infinities reach whoever reads the row.
TEST(Int8Cache, RowsWithoutAScale) {
  Compute compute(select_kernels(), 1);
  KvCache cache({.n_layers = 1, .n_kv_heads = 1, .head_dim = 3, .capacity = 4}, KvType::kInt8);
  const std::vector<float> keys = {0, -0.0f, 0, 1, NAN, 2, 1, -INFINITY, 2, 1e-44f, -3e-44f, 0};
  cache.store(compute, 0, keys.data(), keys.data(), 4);
  const KvLayerView view = cache.layer(0);
  EXPECT_EQ(view.key_scales[0], 0.0f);
  for (int d = 0; d < 3; ++d) EXPECT_EQ(view.keys[d], std::byte{0});
  EXPECT_TRUE(std::isnan(view.key_scales[1]));
  EXPECT_TRUE(std::isinf(view.value_scales[2]));
  EXPECT_LT(view.value_scales[3], 1e-44f);
}

TEST(KvCacheSize, TooLongAContextIsAnError) {
  const std::int64_t most = std::numeric_limits<std::int64_t>::max();
  EXPECT_ERROR(
      KvCache({.n_layers = 32, .n_kv_heads = 8, .head_dim = 128, .capacity = most}, KvType::kBF16),
      HasSubstr("context"));
}

TEST(RopeAngles, AreThoseOfThePositions) {
  Rope rope({1.0f, 0.25f, 0.001f});
  EXPECT_EQ(rope.half(), 3);
  for (const std::int64_t start : {0, 5, 100000}) {
    rope.prepare(start, 4);
    for (std::int64_t t = 0; t < 4; ++t) {
      for (int i = 0; i < 3; ++i) {
        const float frequency = i == 0 ? 1.0f : i == 1 ? 0.25f : 0.001f;
        const float angle = static_cast<float>(start + t) * frequency;
        EXPECT_NEAR(rope.cos(t)[i], std::cos(static_cast<double>(angle)), 1e-7);
        EXPECT_NEAR(rope.sin(t)[i], std::sin(static_cast<double>(angle)), 1e-7);
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
    Compute compute(*kernels, 2);
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
    Compute compute(*kernels, 2);
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
      Compute compute(*kernels, 2, ActivationType::kF32);
      Buffer scratch;
      Mlp mlp;
      mlp.gate.emplace();
      mlp.gate->weight.view = gate.linear.weight.view;
      mlp.gate->bias = gate.linear.bias;
      mlp.up.weight.view = up.linear.weight.view;
      mlp.up.bias = up.linear.bias;
      mlp.down.weight.view = down.linear.weight.view;
      mlp.down.bias = down.linear.bias;
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
    Compute compute(*kernels, 2, ActivationType::kF32);
    Buffer scratch;
    Mlp mlp{.gate = std::nullopt, .up = {}, .down = {}, .activation = Activation::kRelu};
    mlp.up.weight.view = up.linear.weight.view;
    mlp.up.bias = up.linear.bias;
    mlp.down.weight.view = down.linear.weight.view;
    mlp.down.bias = down.linear.bias;
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
