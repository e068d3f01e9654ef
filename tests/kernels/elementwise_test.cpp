// Every kernel set's norms, activations, conversions and softmax against double, within bounds from
// the roundings that a result goes through (u = 2^-24 each; exp may be off by 4 u).
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <random>

#include "kernels/guarded_buffer.h"
#include "nibble/kernels/select.h"

namespace nibble::test {
namespace {

constexpr double kU = 0x1p-24;
constexpr std::int64_t kSizes[] = {1, 2, 7, 8, 15, 16, 17, 31, 33, 64, 100, 257, 2048, 4099};
const float kInf = INFINITY;

GuardedBuffer<float> random_floats(std::int64_t n, unsigned seed, float deviation = 1.0F) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0F, deviation);
  GuardedBuffer<float> values(static_cast<std::size_t>(n));
  for (float& x : values.span()) x = normal(random);
  return values;
}

GuardedBuffer<float> copy_of(GuardedBuffer<float>& source) {
  GuardedBuffer<float> copy(source.size());
  std::copy_n(source.data(), source.size(), copy.data());
  return copy;
}

class ElementwiseTest : public testing::TestWithParam<const KernelSet*> {
 protected:
  const KernelSet& kernels() const { return *GetParam(); }
};

TEST_P(ElementwiseTest, RmsNorm) {
  for (const std::int64_t n : kSizes) {
    GuardedBuffer<float> x = random_floats(n, 1, 3.0F);
    GuardedBuffer<float> weight = random_floats(n, 2);
    GuardedBuffer<float> out(x.size());
    const float eps = 1e-5F;
    kernels().rms_norm(x.data(), weight.data(), n, eps, out.data());
    double squares = 0;
    for (const float v : x.span()) squares += static_cast<double>(v) * v;
    const double factor = 1 / std::sqrt(squares / static_cast<double>(n) + eps);
    // All squares are positive: the sum is off by n u at most, its root by half of that.
    const double relative = (static_cast<double>(n) / 2 + 8) * kU;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double expected = x[i] * factor * weight[i];
      ASSERT_NEAR(out[i], expected, relative * std::fabs(expected)) << n << " at " << i;
    }
    kernels().rms_norm(x.data(), weight.data(), n, eps, x.data());  // in place
    EXPECT_EQ(std::memcmp(x.data(), out.data(), out.size() * sizeof(float)), 0);
  }
}

TEST_P(ElementwiseTest, LayerNorm) {
  for (const std::int64_t n : kSizes) {
    for (const float center : {0.0F, 50.0F}) {
      GuardedBuffer<float> x = random_floats(n, 1, 3.0F);
      for (float& v : x.span()) v += center;
      GuardedBuffer<float> weight = random_floats(n, 2);
      GuardedBuffer<float> bias = random_floats(n, 3);
      GuardedBuffer<float> out(x.size());
      const NormWeights weights = {weight.data(), bias.data(), 1e-2F};
      kernels().layer_norm(x.data(), weights, n, out.data());
      double sum = 0;
      double size = 0;
      for (const float v : x.span()) {
        sum += v;
        size += std::fabs(v);
      }
      const double mean = sum / static_cast<double>(n);
      double squares = 0;
      for (const float v : x.span()) squares += (v - mean) * (v - mean);
      const double factor = 1 / std::sqrt(squares / static_cast<double>(n) + 1e-2);
      // The mean is off by n u of the mean size at most, every difference from it by that and a
      // rounding; the variance, n additions of squares of such differences, then by no more
      // relative to its root.
      const double shift = (static_cast<double>(n) + 2) * kU * (size / static_cast<double>(n));
      const double relative = (static_cast<double>(n) / 2 + 8) * kU + 2 * shift * factor;
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double scaled = (x[i] - mean) * factor * weight[i];
        const double bound = std::fabs(scaled) * relative +
                             (shift + kU * std::fabs(x[i])) * factor * std::fabs(weight[i]) +
                             2 * kU * std::fabs(bias[i]);
        ASSERT_NEAR(out[i], scaled + bias[i], bound) << n << " at " << i;
      }
      kernels().layer_norm(x.data(), weights, n, x.data());  // in place
      EXPECT_EQ(std::memcmp(x.data(), out.data(), out.size() * sizeof(float)), 0);
    }
  }
}

TEST_P(ElementwiseTest, Rope) {
  for (const std::int64_t head_dim : {2, 6, 16, 30, 34, 64, 80, 128}) {
    const std::int64_t heads = 3;
    const std::int64_t half = head_dim / 2;
    GuardedBuffer<float> x = random_floats(heads * head_dim, 3);
    const GuardedBuffer<float> before = copy_of(x);
    GuardedBuffer<float> cos(static_cast<std::size_t>(half));
    GuardedBuffer<float> sin(static_cast<std::size_t>(half));
    for (std::int64_t i = 0; i < half; ++i) {
      cos[static_cast<std::size_t>(i)] = std::cos(static_cast<float>(i));
      sin[static_cast<std::size_t>(i)] = std::sin(static_cast<float>(i));
    }
    kernels().rope(x.data(), cos.data(), sin.data(), heads, head_dim);
    for (std::int64_t at = 0; at < heads * head_dim; ++at) {
      const std::int64_t d = at % head_dim;
      const auto i = static_cast<std::size_t>(d % half);
      const double a = before[static_cast<std::size_t>(at)];
      const double b = d < half ? -before[static_cast<std::size_t>(at + half)]
                                : before[static_cast<std::size_t>(at - half)];
      const double bound = 2 * kU * (std::fabs(a * cos[i]) + std::fabs(b * sin[i]));
      ASSERT_NEAR(x[static_cast<std::size_t>(at)], a * cos[i] + b * sin[i], bound) << head_dim;
    }
  }
}

TEST_P(ElementwiseTest, SiluMul) {
  for (const std::int64_t n : kSizes) {
    GuardedBuffer<float> gate = random_floats(n, 4, 20.0F);
    GuardedBuffer<float> up = random_floats(n, 5);
    GuardedBuffer<float> out(gate.size());
    kernels().activate_mul(Activation::kSilu, gate.data(), up.data(), n, out.data());
    for (std::size_t i = 0; i < gate.size(); ++i) {
      const double g = gate[i];
      const double expected = g / (1 + std::exp(-g)) * up[i];
      // Where exp(-g) is past the largest float the result is 0 instead of below 1e-36.
      ASSERT_NEAR(out[i], expected, 8 * kU * std::fabs(expected) + 1e-36) << g;
    }
    kernels().activate_mul(Activation::kSilu, gate.data(), up.data(), n, up.data());
    EXPECT_EQ(std::memcmp(up.data(), out.data(), out.size() * sizeof(float)), 0);
  }
}

double exact(Activation activation, double x) {
  const double z = 2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x);
  switch (activation) {
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
    case Activation::kGelu:
      return x * std::erfc(-x * M_SQRT1_2) / 2;
    case Activation::kGeluTanh:
      return x / (1 + std::exp(-z));
    case Activation::kRelu:
      return std::max(x, 0.0);
  }
  return NAN;
}

constexpr Activation kAll[] = {Activation::kSilu, Activation::kGelu, Activation::kGeluTanh,
                               Activation::kRelu};

TEST_P(ElementwiseTest, Activations) {
  for (const Activation activation : kAll) {
    for (const std::int64_t n : kSizes) {
      GuardedBuffer<float> x = random_floats(n, 4, n % 2 == 0 ? 1.0F : 6.0F);
      GuardedBuffer<float> up = random_floats(n, 5);
      GuardedBuffer<float> out(x.size());
      GuardedBuffer<float> gated(x.size());
      kernels().activate(activation, x.data(), n, out.data());
      kernels().activate_mul(activation, x.data(), up.data(), n, gated.data());
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double expected = exact(activation, x[i]);
        const double size = std::fabs(x[i]);
        // exp's argument carries a few roundings of itself, which are relative ones of the result:
        // that of GELU's approximation is about 1.6 x + 0.07 x^3, of GELU's tail x^2 / 2. The tail
        // is by formula off by up to 7.5e-8, rounded in sums of up to 1.5.
        double bound = (8 + 8 * (1.6 * size + 0.1 * size * size * size)) * kU * std::fabs(expected);
        if (activation == Activation::kGelu) bound += size * (7.5e-8 + 8 * kU);
        ASSERT_NEAR(out[i], expected, bound + 1e-36) << static_cast<int>(activation) << " " << x[i];
        ASSERT_EQ(gated[i], out[i] * up[i]) << static_cast<int>(activation) << " " << x[i];
      }
      kernels().activate(activation, x.data(), n, x.data());
      EXPECT_EQ(std::memcmp(x.data(), out.data(), out.size() * sizeof(float)), 0);
    }
  }
}

TEST_P(ElementwiseTest, ActivationsOfExtremes) {
  for (const Activation activation : kAll) {
    const float x[] = {-100.0F, 100.0F, 0.0F, 1e30F, -1e30F, kInf, NAN, -20.0F};
    float out[8];
    kernels().activate(activation, x, 8, out);
    EXPECT_NEAR(out[0], 0.0F, 1e-36F);
    EXPECT_EQ(out[1], 100.0F);
    EXPECT_EQ(out[2], 0.0F);
    EXPECT_EQ(out[3], 1e30F);
    EXPECT_EQ(out[4], 0.0F);
    EXPECT_EQ(out[5], kInf);
    EXPECT_TRUE(std::isnan(out[6]));
    EXPECT_NEAR(out[7], 0.0F, 5e-8F);
  }
}

TEST_P(ElementwiseTest, SiluOfExtremes) {
  const float gate[] = {-100.0F, 100.0F, 0.0F, -88.0F, kInf, NAN, 1e30F, -1e30F};
  const float up[] = {1, 1, 1, 1, 1, 1, 1, 1};
  float out[8];
  kernels().activate_mul(Activation::kSilu, gate, up, 8, out);
  EXPECT_NEAR(out[0], 0.0F, 1e-36F);
  EXPECT_EQ(out[1], 100.0F);
  EXPECT_EQ(out[2], 0.0F);
  EXPECT_NEAR(out[3], -88 * std::exp(-88.0), 1e-40);
  EXPECT_EQ(out[4], kInf);
  EXPECT_TRUE(std::isnan(out[5]));
  EXPECT_EQ(out[6], 1e30F);
  EXPECT_EQ(out[7], 0.0F);
}

TEST_P(ElementwiseTest, Add) {
  for (const std::int64_t n : kSizes) {
    GuardedBuffer<float> x = random_floats(n, 6);
    const GuardedBuffer<float> before = copy_of(x);
    GuardedBuffer<float> y = random_floats(n, 7);
    kernels().add(x.data(), y.data(), n);
    for (std::size_t i = 0; i < x.size(); ++i) ASSERT_EQ(x[i], before[i] + y[i]);
  }
}

// Bit for bit, over the whole range of patterns: NaN, infinities, subnormal numbers, ties.
TEST_P(ElementwiseTest, ToBf16IsTheRoundingOfCore) {
  constexpr std::int64_t kCount = 4096 + 7;
  GuardedBuffer<float> x(kCount);
  GuardedBuffer<BFloat16> out(kCount);
  std::uint32_t pattern = 0;
  for (int round = 0; round < 2000; ++round) {
    for (std::size_t i = 0; i < x.size(); ++i, pattern += 523) {
      // Every other one with its lower half at a tie or next to it.
      const std::uint32_t tie = (pattern & 0xffff0000u) | (0x7fffu + pattern % 3);
      x[i] = std::bit_cast<float>(i % 2 == 0 ? pattern : tie);
    }
    kernels().to_bf16(x.data(), kCount, out.data());
    for (std::size_t i = 0; i < x.size(); ++i) {
      ASSERT_EQ(out[i].bits, to_bfloat16(x[i]).bits) << std::bit_cast<std::uint32_t>(x[i]);
    }
  }
}

TEST_P(ElementwiseTest, GroupSums) {
  for (const std::int64_t group_size : {32, 64, 128}) {
    const std::int64_t n = group_size * 9;
    GuardedBuffer<float> x = random_floats(n, 8);
    GuardedBuffer<BFloat16> narrow(x.size());
    GuardedBuffer<float> sums(9);
    GuardedBuffer<float> narrow_sums(9);
    for (std::size_t i = 0; i < x.size(); ++i) narrow[i] = to_bfloat16(x[i]);
    kernels().group_sums_f32(x.data(), n, group_size, sums.data());
    kernels().group_sums_bf16(narrow.data(), n, group_size, narrow_sums.data());
    for (std::size_t g = 0; g < 9; ++g) {
      double expected[2] = {};
      double magnitude[2] = {};
      for (std::size_t i = g * static_cast<std::size_t>(group_size);
           i < (g + 1) * static_cast<std::size_t>(group_size); ++i) {
        const double values[2] = {x[i], to_float(narrow[i])};
        for (int j = 0; j < 2; ++j) {
          expected[j] += values[j];
          magnitude[j] += std::fabs(values[j]);
        }
      }
      const double roundings = static_cast<double>(group_size) * kU;
      EXPECT_NEAR(sums[g], expected[0], roundings * magnitude[0]);
      EXPECT_NEAR(narrow_sums[g], expected[1], roundings * magnitude[1]);
    }
  }
}

TEST_P(ElementwiseTest, SoftmaxAndLogSumExp) {
  for (const std::int64_t n : {1, 2, 15, 16, 17, 33, 100, 1000, 128256, 151937}) {
    GuardedBuffer<float> x = random_floats(n, 9, 4.0F);
    double max = -INFINITY;
    for (const float v : x.span()) max = std::max(max, static_cast<double>(v));
    double sum = 0;
    for (const float v : x.span()) sum += std::exp(v - max);
    const double expected = max + std::log(sum);
    // Up to 64 floats are added as floats; the logarithm turns a relative error into an absolute
    // one, and the result itself is rounded. x - max is rounded before exp.
    const double spread = 4.0 * 12;
    const double bound = (64 + 6 + spread) * kU + std::fabs(expected) * kU;
    EXPECT_NEAR(kernels().log_sum_exp(x.data(), n), expected, bound) << n;
    GuardedBuffer<float> out(x.size());
    EXPECT_NEAR(kernels().softmax(x.data(), n, out.data()), expected, bound) << n;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double weight = std::exp(x[i] - max) / sum;
      ASSERT_NEAR(out[i], weight, 2 * bound * weight) << n << " at " << i;
    }
    kernels().softmax(x.data(), n, x.data());
    EXPECT_EQ(std::memcmp(x.data(), out.data(), out.size() * sizeof(float)), 0);
  }
}

TEST_P(ElementwiseTest, SoftmaxOfInfinities) {
  for (const std::int64_t n : {1, 5, 16, 40}) {
    GuardedBuffer<float> x(static_cast<std::size_t>(n));
    for (float& v : x.span()) v = -kInf;
    EXPECT_EQ(kernels().log_sum_exp(x.data(), n), -kInf);
    x[x.size() - 1] = 2.0F;
    EXPECT_EQ(kernels().log_sum_exp(x.data(), n), 2.0F);
    GuardedBuffer<float> out(x.size());
    kernels().softmax(x.data(), n, out.data());
    for (std::size_t i = 0; i < x.size(); ++i) EXPECT_EQ(out[i], i + 1 == x.size() ? 1.0F : 0.0F);
    x[0] = kInf;
    EXPECT_EQ(kernels().log_sum_exp(x.data(), n), kInf);
    x[x.size() - 1] = NAN;
    EXPECT_TRUE(std::isnan(kernels().log_sum_exp(x.data(), n)));
  }
}

TEST_P(ElementwiseTest, LargeLogitsDoNotOverflow) {
  const float x[] = {3e38F, 3e38F, -3e38F};
  float out[3];
  EXPECT_EQ(kernels().softmax(x, 3, out), 3e38F);
  EXPECT_EQ(out[0], 0.5F);
  EXPECT_EQ(out[1], 0.5F);
  EXPECT_EQ(out[2], 0.0F);
}

// The checksum itself is the set's own affair; that every byte counts is not.
TEST_P(ElementwiseTest, ReadMemoryReadsEveryByte) {
  GuardedBuffer<unsigned char> data(1027);
  const std::uint64_t before = kernels().read_memory(data.data(), data.size());
  for (std::size_t i = 0; i < data.size(); ++i) {
    data[i] = 1;
    EXPECT_NE(kernels().read_memory(data.data(), data.size()), before) << i;
    data[i] = 0;
  }
}

TEST_P(ElementwiseTest, PeakKernelsCountTheirOperations) {
  ASSERT_GT(kernels().peak_count, 0);
  for (int i = 0; i < kernels().peak_count; ++i) {
    const double one = kernels().peaks[i].run(1);
    EXPECT_GT(one, 0) << kernels().peaks[i].name;
    EXPECT_EQ(kernels().peaks[i].run(1000), 1000 * one) << kernels().peaks[i].name;
  }
}

INSTANTIATE_TEST_SUITE_P(Sets, ElementwiseTest,
                         testing::ValuesIn(supported_kernels().begin(), supported_kernels().end()),
                         [](const auto& set) { return std::string(set.param->name); });

}  // namespace
}  // namespace nibble::test
