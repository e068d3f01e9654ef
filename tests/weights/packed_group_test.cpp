#include "nibble/weights/packed_group.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>
#include <vector>

#include "weights/weight_values.h"

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
  const std::int64_t h = in_chunk % 8 / 4;
  const std::int64_t byte = chunk * 1536 + (4 * r + 2 * p + h) * 8;
  const std::int64_t v = in_chunk / 8;
  const std::int64_t six = 3 * (in_chunk % 4 / 2) + b;
  if (v == 3) return byte + six / 2 * 512 + 6 + six % 2;
  return byte + v * 512 + six;
}

class PackedGroupTest : public ::testing::TestWithParam<int> {
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

TEST_P(PackedGroupTest, WeightsAreTheScaledDifferences) {
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
  const WeightView view{{bits() == 4 ? WeightFormat::kW4 : WeightFormat::kW3, 37, 192, 64},
                        {codes.data(), scales.data(), zeros.data()}};
  const std::vector<float> values = test::weight_values(view);
  for (std::size_t row = 0; row < 37; ++row) {
    for (std::size_t c = 0; c < 192; ++c) {
      const std::size_t unit = row / 16 * 3 + c / 64;
      const int difference = q[row / 16][row % 16 * 192 + c] - z[row / 16][c / 64 * 16 + row % 16];
      const float expected =
          static_cast<float>(difference) * to_float(scales[unit * 16 + row % 16]);
      ASSERT_EQ(values[row * 192 + c], expected) << "row " << row << " column " << c;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Bits, PackedGroupTest, ::testing::Values(4, 3));

}  // namespace
}  // namespace nibble
