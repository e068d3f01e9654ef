// ggml's block formats against the gguf package (fixtures/make_fixtures.py).
#include "nibble/weights/ggml_blocks.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "core/error_matchers.h"
#include "nibble/formats/gguf.h"
#include "nibble/weights/dequantize.h"
#include "nibble/weights/ggml_quantize.h"
#include "paths.h"
#include "weights/weight_values.h"

namespace nibble {
namespace {

using test::all_rows;

const std::string kFixture = testing::test_file("weights/fixtures/blocks.gguf");

class Blocks : public ::testing::TestWithParam<const char*> {
 protected:
  GgufFile file_{kFixture};
};

TEST_P(Blocks, AreThePackagesValuesBitForBit) {
  const TensorView& blocks = file_.get("blocks." + std::string(GetParam()));
  EXPECT_EQ(dtype_name(blocks.dtype), GetParam());
  EXPECT_TRUE(can_dequantize(blocks.dtype));
  const std::vector<float> values = all_rows(blocks);
  const std::vector<float> expected = all_rows(file_.get("values." + std::string(GetParam())));
  ASSERT_EQ(values.size(), expected.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(std::bit_cast<std::uint32_t>(values[i]), std::bit_cast<std::uint32_t>(expected[i]))
        << "element " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Types, Blocks,
                         ::testing::Values("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K",
                                           "Q4_K", "Q5_K", "Q6_K", "Q8_K", "IQ4_NL", "IQ4_XS"));

class Quantize : public ::testing::TestWithParam<const char*> {};

TEST_P(Quantize, GivesThePackagesBytes) {
  const GgufFile file(kFixture);
  const TensorView& expected = file.get("quantized." + std::string(GetParam()));
  std::vector<std::byte> out(expected.bytes);
  quantize_row(expected.dtype, all_rows(file.get("floats")), out.data());
  EXPECT_EQ(std::memcmp(out.data(), expected.data, out.size()), 0);
}

INSTANTIATE_TEST_SUITE_P(Types, Quantize, ::testing::Values("Q8_0", "Q4_0", "Q4_1"));

/// Root of the relative squared error of a row after it was encoded.
double error_of(DType dtype, const std::vector<std::byte>& encoded,
                const std::vector<float>& values) {
  const TensorView view{.dtype = dtype,
                        .shape = {1, std::ssize(values)},
                        .data = encoded.data(),
                        .bytes = encoded.size()};
  const std::vector<float> decoded = all_rows(view);
  double error = 0;
  double weight = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    error += std::pow(static_cast<double>(decoded[i]) - static_cast<double>(values[i]), 2);
    weight += std::pow(static_cast<double>(values[i]), 2);
  }
  return std::sqrt(error / weight);
}

std::vector<float> normal_values(std::size_t count, float mean) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(mean, 1.0f);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

TEST(QuantizeQ4K, CostsLessThanRoundingToTheRangeOfEach32) {
  // Q4_1 rounds to the exact range with float16 scales and 5 bits a weight; Q4_K has 4.5 bits, but
  // looks for the best range.
  for (const float mean : {0.0f, 0.5f, -2.0f}) {
    const std::vector<float> values = normal_values(256 * 64, mean);
    std::vector<std::byte> q4_k(144 * 64);
    std::vector<std::byte> q4_1(20 * 8 * 64);
    quantize_row(DType::kQ4_K, values, q4_k.data());
    quantize_row(DType::kQ4_1, values, q4_1.data());
    EXPECT_LT(error_of(DType::kQ4_K, q4_k, values), error_of(DType::kQ4_1, q4_1, values)) << mean;
  }
}

TEST(QuantizeQ4K, KeepsWhatItCanSay) {
  std::vector<float> values(256, 0.0f);
  std::vector<std::byte> encoded(144);
  quantize_row(DType::kQ4_K, values, encoded.data());
  EXPECT_EQ(all_rows({.dtype = DType::kQ4_K, .shape = {256}, .data = encoded.data(), .bytes = 144}),
            values);
  // Scales that are the same 63 / 64 in all groups, minimums likewise: exact.
  for (std::size_t i = 0; i < 256; ++i) values[i] = static_cast<float>(i % 16) - 7.0f;
  for (float& value : values) value *= 63.0f / 64;
  quantize_row(DType::kQ4_K, values, encoded.data());
  EXPECT_LT(error_of(DType::kQ4_K, encoded, values), 2e-3);
}

TEST(EncodeIntegers, KeepsThem) {
  std::vector<std::uint8_t> q(32);
  std::vector<std::uint8_t> q8(32);
  for (std::size_t i = 0; i < 32; ++i) {
    q[i] = static_cast<std::uint8_t>(i * 7 % 16);
    q8[i] = static_cast<std::uint8_t>(i * 8 + 1);
  }
  const float scale = 0.01171875f;  // 3 / 256: exact in float16, 9 of them too
  std::vector<std::byte> q4_1(20);
  encode_q4_1(q, scale, 9, q4_1.data());
  std::vector<std::byte> q8_0(34);
  encode_q8_0(q8, scale, 128, q8_0.data());
  const auto small =
      all_rows({.dtype = DType::kQ4_1, .shape = {32}, .data = q4_1.data(), .bytes = 20});
  const auto large =
      all_rows({.dtype = DType::kQ8_0, .shape = {32}, .data = q8_0.data(), .bytes = 34});
  for (std::size_t i = 0; i < 32; ++i) {
    EXPECT_EQ(small[i], static_cast<float>(q[i] - 9) * scale);
    EXPECT_EQ(large[i], static_cast<float>(q8[i] - 128) * scale);
  }
}

}  // namespace
}  // namespace nibble
