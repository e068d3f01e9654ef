#include "nibble/core/process.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "nibble/core/buffer.h"

namespace nibble {
namespace {

MemoryMapping mapping_of(const void* address) {
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  const std::vector<MemoryMapping> all = memory_mappings();
  EXPECT_TRUE(std::is_sorted(all.begin(), all.end(),
                             [](const auto& a, const auto& b) { return a.end <= b.begin; }));
  const auto found = std::find_if(all.begin(), all.end(), [&](const MemoryMapping& each) {
    return each.begin <= at && at < each.end;
  });
  EXPECT_NE(found, all.end());
  return found == all.end() ? MemoryMapping{} : *found;
}

TEST(MemoryMappings, TellWhatIsResident) {
  constexpr std::size_t kBytes = 4 * kHugePageBytes;
  const Buffer buffer(kBytes, Buffer::Pages::kSmall);
  const MemoryMapping before = mapping_of(buffer.data());
  std::memset(buffer.data(), 1, kBytes / 2);
  const MemoryMapping after = mapping_of(buffer.data());
  EXPECT_EQ(after.resident_bytes - before.resident_bytes, std::int64_t{kBytes} / 2);
  EXPECT_EQ(after.huge_bytes, 0);
}

TEST(MemoryMappings, TellHugePages) {
  if (!has_huge_pages()) GTEST_SKIP() << "the system has no huge pages";
  constexpr std::size_t kBytes = 4 * kHugePageBytes;
  const Buffer buffer(kBytes);
  std::memset(buffer.data(), 1, kBytes);
  const MemoryMapping mapping = mapping_of(buffer.data());
  EXPECT_GE(mapping.resident_bytes, std::int64_t{kBytes});
  if (mapping.huge_bytes == 0) GTEST_SKIP() << "memory is too scattered for huge pages";
  EXPECT_EQ(mapping.huge_bytes % std::int64_t{kHugePageBytes}, 0);
  EXPECT_LE(mapping.huge_bytes, mapping.resident_bytes);
}

}  // namespace
}  // namespace nibble
