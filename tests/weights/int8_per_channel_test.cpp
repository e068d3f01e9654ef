#include "nibble/weights/int8_per_channel.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "weights/weight_values.h"

namespace nibble {
namespace {

std::vector<std::int8_t> random_integers(std::int64_t count) {
  std::mt19937 random(3);
  std::uniform_int_distribution<int> integer(-127, 127);
  std::vector<std::int8_t> q(static_cast<std::size_t>(count));
  for (auto& value : q) value = static_cast<std::int8_t>(integer(random));
  return q;
}

std::vector<std::uint8_t> pack(const Int8PerChannel& layout, const std::vector<std::int8_t>& q) {
  std::vector<std::uint8_t> out(static_cast<std::size_t>(layout.block_code_bytes()), 0xee);
  pack_int8(layout, q, out);
  return out;
}

TEST(Int8PerChannelTest, IntegersLieWhereTheHeaderSays) {
  const Int8PerChannel layout{16, 10};
  const std::vector<std::int8_t> q = random_integers(16 * 10);
  const std::vector<std::uint8_t> packed = pack(layout, q);
  ASSERT_EQ(packed.size(), 3u * 64);
  constexpr std::int64_t kColumns[4] = {0, 2, 1, 3};  // of the bytes of a lane
  for (std::int64_t at = 0; at < std::ssize(packed); ++at) {
    const std::int64_t row = at % 64 / 4;
    const std::int64_t col = at / 64 * 4 + kColumns[at % 4];
    const int value = col < 10 ? q[static_cast<std::size_t>(row * 10 + col)] : 0;
    EXPECT_EQ(packed[static_cast<std::size_t>(at)], value + 128) << "row " << row << " col " << col;
    if (col < 10) {
      EXPECT_EQ(int8_at(packed.data(), row, col), value);
    }
  }
}

TEST(Int8PerChannelTest, WeightsAreTheScaledIntegers) {
  constexpr std::int64_t kRows = 19;
  constexpr std::int64_t kCols = 6;
  const Int8PerChannel layout{kRows, kCols};
  std::vector<std::int8_t> q = random_integers(2 * 16 * kCols);
  std::vector<std::uint8_t> packed;
  for (std::ptrdiff_t block = 0; block < 2; ++block) {
    const auto begin = q.begin() + block * 16 * kCols;
    const auto part = pack(layout, {begin, begin + 16 * kCols});
    packed.insert(packed.end(), part.begin(), part.end());
  }
  std::vector<float> scales(32);
  for (std::size_t i = 0; i < scales.size(); ++i) scales[i] = 0.1F + 0.01F * static_cast<float>(i);
  const WeightView view{{WeightFormat::kW8, kRows, kCols}, {packed.data(), scales.data()}};
  const std::vector<float> values = test::weight_values(view);
  for (std::int64_t row = 0; row < kRows; ++row) {
    for (std::int64_t c = 0; c < kCols; ++c) {
      const auto at = static_cast<std::size_t>(row * kCols + c);
      EXPECT_EQ(values[at], static_cast<float>(q[at]) * scales[static_cast<std::size_t>(row)]);
    }
  }
}

}  // namespace
}  // namespace nibble
