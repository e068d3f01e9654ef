#include "nibble/core/scratch_file.h"

#include <gtest/gtest.h>

#include <array>
#include <filesystem>

#include "core/error_matchers.h"
#include "core/temporary_folder.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

TEST(ScratchFile, HoldsWhatIsWrittenAndHasNoName) {
  const testing::TemporaryFolder folder;
  ScratchFile first(folder.path(), 1000);
  EXPECT_TRUE(fs::is_empty(folder.path()));
  constexpr std::array<std::byte, 3> kBytes = {std::byte{1}, std::byte{2}, std::byte{3}};
  first.write_at(500, kBytes);
  const ScratchFile file = std::move(first);
  std::array<std::byte, 4> read{};
  file.read_at(499, read);
  EXPECT_EQ(read, (std::array<std::byte, 4>{std::byte{0}, kBytes[0], kBytes[1], kBytes[2]}));
  EXPECT_ERROR(file.read_at(999, read), HasSubstr("it ends too soon"));
}

TEST(ScratchFile, SaysWhereThereIsNoRoom) {
  const testing::TemporaryFolder folder;
  EXPECT_ERROR(ScratchFile(folder.path(), std::uint64_t{1} << 60),
               HasSubstr("no room for a temporary file of 1152921504606846976 bytes: "));
  EXPECT_ERROR(ScratchFile(folder / "none", 1), HasSubstr("none: no temporary file"));
}

}  // namespace
}  // namespace nibble
