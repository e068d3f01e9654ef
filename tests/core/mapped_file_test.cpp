#include "nibble/core/mapped_file.h"

#include <sys/stat.h>

#include <cstdint>
#include <cstring>
#include <utility>

#include "core/error_matchers.h"
#include "core/temporary_folder.h"
#include "nibble/core/process.h"

namespace nibble {
namespace {

using ::testing::HasSubstr;
using testing::TemporaryFolder;
using testing::write_file;

std::string text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.size()};
}

TEST(MappedFile, HoldsTheBytes) {
  const TemporaryFolder folder;
  write_file(folder / "a", "hello");
  const MappedFile file(folder / "a");
  EXPECT_EQ(text_of(file), "hello");
  EXPECT_EQ(file.path(), folder / "a");
}

TEST(MappedFile, EmptyFileHasNoBytes) {
  const TemporaryFolder folder;
  write_file(folder / "empty", "");
  EXPECT_EQ(MappedFile(folder / "empty").size(), 0u);
  EXPECT_EQ(read_text_file(folder / "empty"), "");
}

TEST(MappedFile, RefusesWhatIsNoRegularFile) {
  const TemporaryFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_ERROR(MappedFile(folder / "pipe"), HasSubstr("pipe: not a regular file"));
  EXPECT_ERROR(MappedFile(folder.path()), HasSubstr("not a regular file"));
  EXPECT_ERROR(MappedFile("/dev/zero"), HasSubstr("not a regular file"));
  EXPECT_ERROR(MappedFile(folder / "missing"), HasSubstr("No such file"));
}

TEST(MappedFile, CallsPointersAndBrokenLinksByTheirName) {
  const TemporaryFolder folder;
  const std::string pointer =
      "version https://git-lfs.github.com/spec/v1\noid sha256:" + std::string(64, '7') +
      "\nsize 4976698672\n";
  write_file(folder / "model.safetensors", pointer);
  EXPECT_ERROR(MappedFile(folder / "model.safetensors"),
               HasSubstr("model.safetensors: is a Git LFS pointer to a file of 4976698672 bytes"));
  EXPECT_ERROR(read_text_file(folder / "model.safetensors"), HasSubstr("Git LFS"));
  write_file(folder / "text", pointer + std::string(1000, 'x'));  // too long to be one
  EXPECT_EQ(MappedFile(folder / "text").size(), pointer.size() + 1000);
  std::filesystem::create_symlink("../blobs/gone", folder / "link");
  EXPECT_ERROR(MappedFile(folder / "link"),
               HasSubstr("link: is a broken link: it leads to ../blobs/gone, which is not there"));
  EXPECT_ERROR(file_exists(folder / "link"), HasSubstr("broken link"));
  EXPECT_FALSE(file_exists(folder / "nothing"));
  EXPECT_TRUE(file_exists(folder / "text"));
}

TEST(MappedFile, MovesLeaveTheBytesInPlace) {
  const TemporaryFolder folder;
  write_file(folder / "a", "hello");
  write_file(folder / "b", "world");
  MappedFile first(folder / "a");
  const std::byte* place = first.bytes().data();
  MappedFile second = std::move(first);
  EXPECT_EQ(second.bytes().data(), place);
  MappedFile third(folder / "b");
  third = std::move(second);
  EXPECT_EQ(text_of(third), "hello");
}

TEST(MappedFile, DroppedPagesComeBack) {
  const TemporaryFolder folder;
  const std::string text(100'000, 'x');
  write_file(folder / "a", text);
  const MappedFile file(folder / "a");
  EXPECT_EQ(text_of(file), text);
  file.drop(file.bytes());
  file.drop(file.bytes().subspan(5, 7));
  file.drop(file.bytes().subspan(100'000));
  EXPECT_EQ(text_of(file), text);
}

TEST(MappedFile, ScatteredReadsLeaveTheBytes) {
  const TemporaryFolder folder;
  const std::string text(3u << 20, 'x');
  write_file(folder / "a", text);
  const MappedFile file(folder / "a");
  file.expect_scattered_reads(file.bytes().subspan(5, 2u << 20));
  EXPECT_EQ(text_of(file), text);
  const auto begin = reinterpret_cast<std::uintptr_t>(file.bytes().data());
  for (const MemoryMapping& mapping : memory_mappings()) {
    // The first whole page that lies in it begins a mapping of its own.
    EXPECT_FALSE(mapping.begin < begin + 4096 && mapping.end > begin + 4096)
        << "the advice was not taken";
  }
}

TEST(MappedFile, KnowsWhatLiesInIt) {
  const TemporaryFolder folder;
  write_file(folder / "a", "hello");
  const MappedFile file(folder / "a");
  EXPECT_TRUE(file.contains(file.bytes()));
  EXPECT_TRUE(file.contains(file.bytes().subspan(2, 3)));
  EXPECT_FALSE(file.contains({file.bytes().data() + 2, 4}));
  EXPECT_FALSE(file.contains({file.bytes().data() - 1, 2}));
}

TEST(ReadTextFile, KeepsToItsLimit) {
  const TemporaryFolder folder;
  write_file(folder / "a", "12345");
  EXPECT_EQ(read_text_file(folder / "a", 5), "12345");
  EXPECT_ERROR(read_text_file(folder / "a", 4), HasSubstr("5 bytes, more than the 4"));
}

}  // namespace
}  // namespace nibble
