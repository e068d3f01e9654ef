// int8 activations: their codes, and every kernel set's products with them, which the contract
// (kernel_set.h) makes the same to the bit for all sets and numbers of tokens.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "kernels/guarded_buffer.h"
#include "kernels/test_matrix.h"
#include "nibble/kernels/avx2/avx2.h"
#include "nibble/kernels/select.h"

namespace nibble::test {
namespace {

using Matmul = void (*)(const MatmulTask&);

constexpr std::int64_t kInt8TokenCounts[] = {1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 25};
constexpr std::int64_t kMaxInt8Tokens = 25;
constexpr float kCanary = -12345.0F;

/// The products of a set, and those that it only takes on some processors.
struct Variant {
  std::string name;
  const KernelSet* kernels;
  Matmul w4;
  Matmul w3;
  Matmul w8;

  Matmul matmul(WeightFormat format) const {
    return format == WeightFormat::kW4 ? w4 : format == WeightFormat::kW3 ? w3 : w8;
  }
};

std::vector<Variant> variants() {
  std::vector<Variant> all;
  for (const KernelSet* set : supported_kernels()) {
    const auto matmul = [set](WeightFormat format) {
      return set->matmul_int8[static_cast<int>(format)];
    };
    all.push_back({set->name, set, matmul(WeightFormat::kW4), matmul(WeightFormat::kW3),
                   matmul(WeightFormat::kW8)});
    if (set == &kAvx2Kernels) {  // the product that a processor with AVX-VNNI does not take
      all.push_back({"avx2_maddubs", set, avx2::matmul_int8_w4_maddubs,
                     avx2::matmul_int8_w3_maddubs, avx2::matmul_int8_w8_maddubs});
    }
  }
  return all;
}

/// Codes of kMaxInt8Tokens tokens for one matrix.
struct Codes {
  std::int64_t groups;
  std::int64_t group_size;
  std::int64_t stride;
  GuardedBuffer<std::int8_t> codes;
  GuardedBuffer<float> scales;       // (tokens, groups)
  GuardedBuffer<std::int32_t> sums;  // (tokens, groups)
};

/// `scale`: of all groups, or 0: each has its own.
Codes make_codes(const KernelSet& kernels, const WeightView& weight, const float* x,
                 float scale = 0) {
  const std::int64_t group_size = weight.group_size > 0 ? weight.group_size : weight.cols;
  const std::int64_t groups = weight.cols / group_size;
  const std::int64_t stride = (weight.cols + kCodeRun - 1) / kCodeRun * kCodeRun;
  const auto figures = static_cast<std::size_t>(kMaxInt8Tokens * groups);
  Codes out{groups,
            group_size,
            stride,
            GuardedBuffer<std::int8_t>(static_cast<std::size_t>(kMaxInt8Tokens * stride)),
            GuardedBuffer<float>(figures),
            GuardedBuffer<std::int32_t>(figures)};
  for (std::int64_t t = 0; t < kMaxInt8Tokens; ++t) {
    kernels.quantize_int8({.x = x + t * weight.cols,
                           .cols = weight.cols,
                           .group_size = group_size,
                           .format = weight.format,
                           .codes = out.codes.data() + t * stride,
                           .scales = out.scales.data() + t * groups,
                           .sums = out.sums.data() + t * groups,
                           .scale = scale});
  }
  return out;
}

const std::int8_t* order_of(WeightFormat format) {
  return format == WeightFormat::kW8 ? kCodeOrderW8 : kCodeOrderW4;
}

/// The code of a column, wherever it lies.
int code_at(const Codes& codes, WeightFormat format, std::int64_t t, std::int64_t col) {
  std::int64_t place = 0;
  while (order_of(format)[place] != col % kCodeRun) ++place;
  return codes
      .codes[static_cast<std::size_t>(t * codes.stride + col / kCodeRun * kCodeRun + place)];
}

class Int8Test : public testing::TestWithParam<Variant> {
 protected:
  const KernelSet& kernels() const { return *GetParam().kernels; }

  GuardedBuffer<float> random_input(std::int64_t elements) {
    GuardedBuffer<float> x(static_cast<std::size_t>(elements));
    std::normal_distribution<float> normal;
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = normal(random_);
    return x;
  }

  /// The definition, for rows of x that hold numbers.
  void expect_codes(const WeightView& weight, const GuardedBuffer<float>& x, float given = 0) {
    const Codes codes = make_codes(kernels(), weight, x.data(), given);
    for (std::int64_t t = 0; t < kMaxInt8Tokens; ++t) {
      for (std::int64_t g = 0; g < codes.groups; ++g) {
        const std::int64_t begin = g * codes.group_size;
        const float* values = x.data() + t * weight.cols + begin;
        float most = 1e-5F;
        for (std::int64_t c = 0; c < codes.group_size; ++c) {
          most = std::max(most, std::fabs(values[c]));
        }
        ASSERT_EQ(kernels().int8_scale(values, codes.group_size), most / 127.0F);
        const float scale = given != 0 ? given : most / 127.0F;
        const auto at = static_cast<std::size_t>(t * codes.groups + g);
        ASSERT_EQ(codes.scales[at], scale);
        int sum = 0;
        for (std::int64_t c = 0; c < codes.group_size; ++c) {
          const int expected = static_cast<int>(std::nearbyint(values[c] / scale));
          ASSERT_EQ(code_at(codes, weight.format, t, begin + c), expected)
              << "token " << t << ", column " << begin + c;
          sum += expected;
        }
        ASSERT_EQ(codes.sums[at], sum);
      }
      for (std::int64_t c = weight.cols; c < codes.stride; ++c) {
        ASSERT_EQ(code_at(codes, weight.format, t, c), 0) << "past the columns";
      }
    }
  }

  /// What the contract says, in integers of 64 bits and with the roundings that it names; and how
  /// far that is from the exact product, at most half a unit of float32 for the two scales, the
  /// group's sum and each addition.
  float product(const TestMatrix& matrix, const Codes& codes, std::int64_t t, std::int64_t row) {
    float total = 0;
    double exact = 0;
    double magnitude = 0;
    for (std::int64_t g = 0; g < codes.groups; ++g) {
      std::int64_t sum = 0;
      for (std::int64_t c = g * codes.group_size; c < (g + 1) * codes.group_size; ++c) {
        sum += matrix.integers[static_cast<std::size_t>(row * matrix.view.cols + c)] *
               code_at(codes, matrix.view.format, t, c);
      }
      const float scale = matrix.group_scales[static_cast<std::size_t>(row * codes.groups + g)];
      const float x_scale = codes.scales[static_cast<std::size_t>(t * codes.groups + g)];
      total = std::fma(scale * x_scale, static_cast<float>(sum), total);
      const double term = static_cast<double>(scale) * x_scale * static_cast<double>(sum);
      exact += term;
      magnitude += std::fabs(term);
    }
    EXPECT_NEAR(total, exact, magnitude * static_cast<double>(codes.groups + 3) * 0x1p-24);
    return total;
  }

  void expect_products(const TestMatrix& matrix, const GuardedBuffer<float>& x) {
    const Codes codes = make_codes(kernels(), matrix.view, x.data());
    std::vector<float> expected;
    for (std::int64_t t = 0; t < kMaxInt8Tokens; ++t) {
      for (std::int64_t row = 0; row < matrix.view.rows; ++row) {
        expected.push_back(product(matrix, codes, t, row));
      }
    }
    for (const std::int64_t tokens : kInt8TokenCounts) {
      // All rows at once, and in parts that begin at blocks.
      for (const std::int64_t step : {std::int64_t{1000}, std::int64_t{48}, std::int64_t{16}}) {
        if (step < 1000 && tokens != 1 && tokens != 13) continue;
        SCOPED_TRACE("tokens " + std::to_string(tokens) + ", rows by " + std::to_string(step));
        expect_equal(run(matrix.view, codes, tokens, step), expected, matrix.view.rows);
      }
    }
  }

  GuardedBuffer<float> run(const WeightView& weight, const Codes& codes, std::int64_t tokens,
                           std::int64_t step) {
    const std::int64_t stride = weight.rows + 5;
    GuardedBuffer<float> out(static_cast<std::size_t>((tokens - 1) * stride + weight.rows));
    std::fill_n(out.data(), out.size(), kCanary);
    GuardedBuffer<std::byte> scratch((kernels().matmul_scratch_bytes(weight.cols) + 63) / 64 * 64);
    for (std::int64_t row = 0; row < weight.rows; row += step) {
      GetParam().matmul(weight.format)({.weight = weight,
                                        .x = codes.codes.data(),
                                        .x_stride = codes.stride,
                                        .x_sums = nullptr,
                                        .tokens = tokens,
                                        .row_begin = row,
                                        .row_end = std::min(row + step, weight.rows),
                                        .out = out.data(),
                                        .out_stride = stride,
                                        .scratch = scratch.data(),
                                        .x_scales = codes.scales.data(),
                                        .x_code_sums = codes.sums.data()});
    }
    return out;
  }

  static void expect_equal(const GuardedBuffer<float>& out, const std::vector<float>& expected,
                           std::int64_t rows) {
    const std::int64_t stride = rows + 5;
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(out.size()); ++i) {
      const std::int64_t row = i % stride;
      const float value =
          row < rows ? expected[static_cast<std::size_t>(i / stride * rows + row)] : kCanary;
      ASSERT_EQ(std::memcmp(&out[static_cast<std::size_t>(i)], &value, sizeof value), 0)
          << "token " << i / stride << ", row " << row << ": " << out[static_cast<std::size_t>(i)]
          << ", expected " << value;
    }
  }

  void check(const MatrixSpec& spec) {
    SCOPED_TRACE(spec.name());
    const TestMatrix matrix = make_matrix(spec, random_);
    const GuardedBuffer<float> x = random_input(kMaxInt8Tokens * spec.cols);
    expect_codes(matrix.view, x);
    expect_products(matrix, x);
  }

  std::mt19937 random_{11};
};

TEST_P(Int8Test, GroupedWeights) {
  for (const WeightFormat format : {WeightFormat::kW4, WeightFormat::kW3}) {
    for (const int group_size : {32, 64, 128}) {
      for (const std::int64_t rows : {1, 15, 16, 17, 33, 48, 64, 100}) {
        for (const std::int64_t cols : {32, 64, 96, 128, 384, 1152}) {
          if (cols % group_size != 0 || (rows > 33 && cols > 384)) continue;
          check({format, rows, cols, group_size});
        }
      }
    }
  }
}

TEST_P(Int8Test, WeightsWithAScaleForEachRow) {
  for (const std::int64_t rows : {1, 15, 16, 17, 33, 48, 64, 100}) {
    for (const std::int64_t cols : {1, 2, 3, 4, 5, 15, 16, 17, 63, 287, 1000}) {
      if (rows > 33 && cols > 63 && cols != 287) continue;
      check({WeightFormat::kW8, rows, cols});
    }
  }
}

// More columns than one panel holds.
TEST_P(Int8Test, ManyColumns) {
  check({WeightFormat::kW4, 17, 8320, 128});
  check({WeightFormat::kW3, 17, 4160, 32});
  check({WeightFormat::kW8, 17, 4102});
}

// No sum overflows: all integers and codes at their limits, in the longest rows.
TEST_P(Int8Test, LimitsOfIntegers) {
  for (const float sign : {1.0F, -1.0F}) {
    for (const MatrixSpec& spec : {MatrixSpec{WeightFormat::kW4, 20, 256, 128, true},
                                   MatrixSpec{WeightFormat::kW3, 20, 256, 128, true},
                                   MatrixSpec{WeightFormat::kW8, 4, kMaxInt8Cols, 0, true}}) {
      SCOPED_TRACE(spec.name());
      const TestMatrix matrix = make_matrix(spec, random_);
      GuardedBuffer<float> x(static_cast<std::size_t>(kMaxInt8Tokens * spec.cols));
      std::fill_n(x.data(), x.size(), sign);
      const Codes codes = make_codes(kernels(), matrix.view, x.data());
      ASSERT_EQ(code_at(codes, spec.format, 0, 0), static_cast<int>(127 * sign));
      for (const std::int64_t tokens : {1, 9}) {
        std::vector<float> expected;
        for (std::int64_t row = 0; row < spec.rows; ++row) {
          expected.push_back(product(matrix, codes, 0, row));
        }
        for (std::int64_t t = 1; t < tokens; ++t) {
          expected.insert(expected.end(), expected.begin(), expected.begin() + spec.rows);
        }
        expect_equal(run(matrix.view, codes, tokens, 1000), expected, spec.rows);
      }
    }
  }
}

TEST_P(Int8Test, RoundsHalfToEven) {
  const TestMatrix matrix = make_matrix({WeightFormat::kW4, 1, 128, 128}, random_);
  GuardedBuffer<float> x(static_cast<std::size_t>(kMaxInt8Tokens * 128));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 128) - 63.5F;
  for (std::size_t t = 0; t < kMaxInt8Tokens; ++t) x[t * 128] = -127;  // the scale is 1
  expect_codes(matrix.view, x);
}

TEST_P(Int8Test, TinyValuesAndZeros) {
  for (const WeightFormat format : {WeightFormat::kW4, WeightFormat::kW8}) {
    const bool grouped = format == WeightFormat::kW4;
    const TestMatrix matrix = make_matrix({format, 5, 64, grouped ? 32 : 0}, random_);
    GuardedBuffer<float> x(static_cast<std::size_t>(kMaxInt8Tokens * 64));
    expect_codes(matrix.view, x);
    expect_products(matrix, x);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 9) * 1e-6F;
    expect_codes(matrix.view, x);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 9) * 0x1p-149F;
    expect_codes(matrix.view, x);
  }
}

TEST_P(Int8Test, AGivenScale) {
  for (const MatrixSpec& spec :
       {MatrixSpec{WeightFormat::kW4, 20, 384, 128}, MatrixSpec{WeightFormat::kW3, 5, 96, 32},
        MatrixSpec{WeightFormat::kW8, 17, 287}}) {
    SCOPED_TRACE(spec.name());
    const TestMatrix matrix = make_matrix(spec, random_);
    const GuardedBuffer<float> x = random_input(kMaxInt8Tokens * spec.cols);
    const float largest = kernels().int8_scale(x.data(), kMaxInt8Tokens * spec.cols);
    expect_codes(matrix.view, x, largest);
    expect_codes(matrix.view, x, 3 * largest);
    const Codes codes = make_codes(kernels(), matrix.view, x.data(), largest);
    std::vector<float> expected;
    for (std::int64_t t = 0; t < 9; ++t) {
      for (std::int64_t row = 0; row < spec.rows; ++row) {
        expected.push_back(product(matrix, codes, t, row));
      }
    }
    expect_equal(run(matrix.view, codes, 9, 1000), expected, spec.rows);
  }
}

// What is no number shows in every result of its token, and in no other's.
TEST_P(Int8Test, NaNAndInfinityArePassedOn) {
  for (const WeightFormat format : {WeightFormat::kW4, WeightFormat::kW3, WeightFormat::kW8}) {
    const int group_size = format == WeightFormat::kW8 ? 0 : 32;
    const TestMatrix matrix = make_matrix({format, 21, 96, group_size}, random_);
    for (const float bad : {std::nanf(""), INFINITY, -INFINITY}) {
      for (const std::int64_t place : {0, 37, 95}) {
        GuardedBuffer<float> x = random_input(kMaxInt8Tokens * 96);
        x[static_cast<std::size_t>(96 + place)] = bad;
        const Codes codes = make_codes(kernels(), matrix.view, x.data());
        for (const std::int64_t tokens : {3, 13}) {
          const GuardedBuffer<float> out = run(matrix.view, codes, tokens, 1000);
          for (std::int64_t t = 0; t < tokens; ++t) {
            for (std::int64_t row = 0; row < 21; ++row) {
              EXPECT_EQ(std::isfinite(out[static_cast<std::size_t>(t * 26 + row)]), t != 1);
            }
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sets, Int8Test, testing::ValuesIn(variants()),
                         [](const auto& variant) { return variant.param.name; });

}  // namespace
}  // namespace nibble::test
