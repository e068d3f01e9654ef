#include "nibble/core/buffer.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <utility>

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

}  // namespace
}  // namespace nibble
