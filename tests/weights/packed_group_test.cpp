#include "nibble/weights/packed_group.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>
#include <vector>

namespace nibble {
namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes random_codes(std::int64_t count, int bits, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<int> code(0, (1 << bits) - 1);
  Bytes q(static_cast<std::size_t>(count));
  for (auto& value : q) value = static_cast<std::uint8_t>(code(random));
  return q;
}

bool bit(const Bytes& bytes, std::int64_t at) {
  return ((bytes[static_cast<std::size_t>(at / 8)] >> (at % 8)) & 1) != 0;
}

// Where the header says that bit `b` of row r, column c lies, as a bit of the block.
std::int64_t w4_bit(std::int64_t r, std::int64_t c, int b) {
  const std::int64_t chunk = c / 8;
  const std::int64_t j = c % 8 / 2;
  const std::int64_t p = c % 2;
  return chunk * 512 + (2 * r + p) * 16 + 4 * j + b;
}

std::int64_t w3_bit(std::int64_t r, std::int64_t c, int b) {
  const std::int64_t chunk = c / 32;
  const std::int64_t in_chunk = c % 32;
  const std::int64_t p = in_chunk % 2;
  const std::int64_t lane = (2 * r + p) * 16;
  const std::int64_t v = in_chunk / 16;
  const std::int64_t j = in_chunk % 16 / 2;
  if (b == 2) return chunk * 1536 + 2 * 512 + lane + 4 * v + j % 4 + 8 * (j / 4);
  return chunk * 1536 + v * 512 + lane + 2 * j + b;
}

class PackedGroupTest : public testing::TestWithParam<int> {
 protected:
  int bits() const { return GetParam(); }
  PackedGroup layout(std::int64_t rows, std::int64_t cols, int group_size) const {
    return {bits(), group_size, rows, cols};
  }
  Bytes pack(const PackedGroup& layout, const Bytes& q) const {
    Bytes out(static_cast<std::size_t>(layout.block_code_bytes()));
    pack_codes(layout, q, out);
    return out;
  }
};

TEST_P(PackedGroupTest, CodesLieWhereTheHeaderSays) {
  const PackedGroup block = layout(16, 96, 32);
  const Bytes q = random_codes(16 * 96, bits(), 1);
  const Bytes packed = pack(block, q);
  for (std::int64_t r = 0; r < 16; ++r) {
    for (std::int64_t c = 0; c < 96; ++c) {
      for (int b = 0; b < bits(); ++b) {
        const bool expected = ((q[static_cast<std::size_t>(r * 96 + c)] >> b) & 1) != 0;
        const std::int64_t at = bits() == 4 ? w4_bit(r, c, b) : w3_bit(r, c, b);
        ASSERT_EQ(bit(packed, at), expected) << "row " << r << " column " << c << " bit " << b;
      }
    }
  }
}

TEST_P(PackedGroupTest, CodesRoundTrip) {
  for (const std::int64_t cols : {32, 64, 128, 160, 1152}) {
    const PackedGroup block = layout(16, cols, 32);
    const Bytes q = random_codes(16 * cols, bits(), 2);
    Bytes unpacked(q.size(), 0xff);
    unpack_codes(block, pack(block, q), unpacked);
    EXPECT_EQ(unpacked, q) << cols;
  }
}

TEST_P(PackedGroupTest, ZerosLieWhereTheHeaderSaysAndRoundTrip) {
  const PackedGroup block = layout(16, 320, 64);
  const Bytes zeros = random_codes(16 * 5, bits(), 3);
  Bytes packed(static_cast<std::size_t>(block.block_zero_bytes()));
  pack_zeros(block, zeros, packed);
  for (std::int64_t g = 0; g < 5; ++g) {
    for (std::int64_t r = 0; r < 16; ++r) {
      for (int b = 0; b < bits(); ++b) {
        const bool expected = ((zeros[static_cast<std::size_t>(g * 16 + r)] >> b) & 1) != 0;
        EXPECT_EQ(bit(packed, g * 16 * bits() + r * bits() + b), expected);
      }
    }
  }
  Bytes unpacked(zeros.size(), 0xff);
  unpack_zeros(block, packed, unpacked);
  EXPECT_EQ(unpacked, zeros);
}

TEST_P(PackedGroupTest, WeightRowIsTheScaledDifference) {
  const PackedGroup whole = layout(37, 192, 64);
  const auto blocks = static_cast<std::size_t>(whole.row_blocks());
  Bytes codes;
  Bytes zeros;
  std::vector<Bytes> q;
  std::vector<Bytes> z;
  for (std::size_t i = 0; i < blocks; ++i) {
    q.push_back(random_codes(16 * 192, bits(), static_cast<unsigned>(i)));
    z.push_back(random_codes(16 * 3, bits(), static_cast<unsigned>(i + 10)));
    const Bytes packed = pack(whole, q.back());
    codes.insert(codes.end(), packed.begin(), packed.end());
    Bytes packed_zeros(static_cast<std::size_t>(whole.block_zero_bytes()));
    pack_zeros(whole, z.back(), packed_zeros);
    zeros.insert(zeros.end(), packed_zeros.begin(), packed_zeros.end());
  }
  std::vector<BFloat16> scales(blocks * 3 * 16);
  for (std::size_t i = 0; i < scales.size(); ++i) {
    scales[i] = to_bfloat16(0.01F * static_cast<float>(i % 50 + 1));
  }
  const WeightView view{bits() == 4 ? WeightFormat::kW4 : WeightFormat::kW3,
                        37,
                        192,
                        codes.data(),
                        64,
                        scales.data(),
                        zeros.data()};
  for (std::size_t row = 0; row < 37; ++row) {
    std::vector<float> values(192);
    weight_row(view, static_cast<std::int64_t>(row), values);
    for (std::size_t c = 0; c < 192; ++c) {
      const std::size_t unit = row / 16 * 3 + c / 64;
      const int difference = q[row / 16][row % 16 * 192 + c] - z[row / 16][c / 64 * 16 + row % 16];
      const float expected =
          static_cast<float>(difference) * to_float(scales[unit * 16 + row % 16]);
      ASSERT_EQ(values[c], expected) << "row " << row << " column " << c;
    }
  }
  EXPECT_EQ(packed_group_of(view).bits, bits());
  EXPECT_EQ(packed_group_of(view).rows, 37);
}

INSTANTIATE_TEST_SUITE_P(Bits, PackedGroupTest, testing::Values(4, 3));

TEST(WeightRowTest, WidensDenseFormats) {
  const std::vector<float> f32 = {1.5F, -2.0F, 3.25F, 4.0F, 5.0F, -6.5F};
  std::vector<Float16> f16;
  std::vector<BFloat16> bf16;
  for (const float x : f32) {
    f16.push_back(to_float16(x));
    bf16.push_back(to_bfloat16(x));
  }
  const std::vector<float> second(f32.begin() + 3, f32.end());
  for (const WeightView& view : {WeightView{WeightFormat::kF32, 2, 3, f32.data()},
                                WeightView{WeightFormat::kF16, 2, 3, f16.data()},
                                WeightView{WeightFormat::kBF16, 2, 3, bf16.data()}}) {
    std::vector<float> row(3);
    weight_row(view, 1, row);
    EXPECT_EQ(row, second) << weight_format_name(view.format);
  }
}

TEST(BitsPerWeightTest, CountsScalesZeroPointsAndFilledUpRows) {
  EXPECT_DOUBLE_EQ(bits_per_weight({WeightFormat::kF32, 5, 7, nullptr}), 32);
  EXPECT_DOUBLE_EQ(bits_per_weight({WeightFormat::kBF16, 5, 7, nullptr}), 16);
  EXPECT_DOUBLE_EQ(bits_per_weight({WeightFormat::kW4, 64, 256, nullptr, 128}), 4.15625);
  EXPECT_DOUBLE_EQ(bits_per_weight({WeightFormat::kW4, 64, 256, nullptr, 32}), 4.625);
  EXPECT_DOUBLE_EQ(bits_per_weight({WeightFormat::kW3, 64, 256, nullptr, 128}), 3 + 19.0 / 128);
  EXPECT_DOUBLE_EQ(bits_per_weight({WeightFormat::kW4, 8, 256, nullptr, 128}), 2 * 4.15625);
}

TEST(WeightFormatNameTest, NamesEveryFormat) {
  EXPECT_STREQ(weight_format_name(WeightFormat::kF32), "f32");
  EXPECT_STREQ(weight_format_name(WeightFormat::kF16), "f16");
  EXPECT_STREQ(weight_format_name(WeightFormat::kBF16), "bf16");
  EXPECT_STREQ(weight_format_name(WeightFormat::kW4), "w4");
  EXPECT_STREQ(weight_format_name(WeightFormat::kW3), "w3");
  EXPECT_STREQ(weight_format_name(WeightFormat::kW8), "w8");
}

}  // namespace
}  // namespace nibble
