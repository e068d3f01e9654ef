#include "nibble/core/buffer.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "nibble/core/error.h"

namespace nibble {
namespace {

TEST(Buffer, IsZeroedAndAligned) {
  const Buffer buffer(100'000);
  EXPECT_EQ(buffer.size(), 100'000u);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 4096, 0u);
  for (std::size_t i = 0; i < buffer.size(); ++i) ASSERT_EQ(buffer.data()[i], std::byte{0});
}

TEST(Buffer, GrowsForMoreElements) {
  Buffer buffer;
  EXPECT_EQ(buffer.data(), nullptr);
  float* few = buffer.as<float>(10);
  few[9] = 1.0f;
  EXPECT_EQ(buffer.as<float>(5), few) << "large enough already";
  float* many = buffer.as<float>(1'000'000);
  many[999'999] = 2.0f;
  EXPECT_GE(buffer.size(), 4'000'000u);
}

TEST(Buffer, MovesTakeTheMemoryAlong) {
  Buffer first(4096);
  std::byte* place = first.data();
  Buffer second = std::move(first);
  EXPECT_EQ(second.data(), place);
  Buffer third(10);
  third = std::move(second);
  EXPECT_EQ(third.data(), place);
}

TEST(Buffer, MoreThanTheAddressSpaceIsAnError) {
  EXPECT_THROW(Buffer(std::size_t{1} << 62), Error);
}

TEST(Buffer, LargeOnesBeginWithAHugePage) {
  for (const std::size_t bytes : {kHugePageBytes, kHugePageBytes + 1, 7 * kHugePageBytes - 5}) {
    const Buffer buffer(bytes);
    EXPECT_EQ(buffer.size(), bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % kHugePageBytes, 0u);
    buffer.data()[0] = buffer.data()[bytes - 1] = std::byte{1};
  }
}

TEST(Arena, PiecesAreApartAndAligned) {
  Arena arena;
  std::vector<std::pair<std::byte*, std::size_t>> pieces;
  for (const std::size_t bytes : {1ul, 64ul, 1000ul, 3ul << 20, 200ul << 20, 300ul << 20, 5ul}) {
    std::byte* piece = arena.take(bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(piece) % 64, 0u);
    piece[0] = piece[bytes - 1] = std::byte{1};  // is there
    for (const auto& [other, size] : pieces) {
      EXPECT_TRUE(piece + bytes <= other || other + size <= piece);
    }
    pieces.emplace_back(piece, bytes);
  }
  EXPECT_THROW(arena.take(std::size_t{1} << 62), Error);
}

}  // namespace
}  // namespace nibble
