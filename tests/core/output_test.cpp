#include "nibble/core/output.h"

#include <sys/stat.h>

#include "core/error_matchers.h"
#include "core/leave_behind.h"
#include "core/temporary_folder.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using testing::die;
using ::testing::HasSubstr;
using testing::leave_behind;
using testing::read_file;
using testing::TemporaryFolder;
using testing::write_file;

std::ptrdiff_t entries(const fs::path& folder) {
  return std::distance(fs::directory_iterator(folder), {});
}

TEST(OutputFile, AppearsOnCommitOnly) {
  const TemporaryFolder folder;
  OutputFile file(folder / "a");
  file.write("hello ");
  file.write("world");
  EXPECT_FALSE(fs::exists(folder / "a"));
  file.commit();
  EXPECT_EQ(read_file(folder / "a"), "hello world");
  EXPECT_EQ(entries(folder.path()), 1);
}

TEST(OutputFile, LeavesNothingBehindWithoutCommit) {
  const TemporaryFolder folder;
  write_file(folder / "a", "old");
  {
    OutputFile file(folder / "a");
    file.write("new");
  }
  EXPECT_EQ(read_file(folder / "a"), "old");
  EXPECT_EQ(entries(folder.path()), 1);
}

TEST(OutputFile, ReplacesAFile) {
  const TemporaryFolder folder;
  write_file(folder / "a", "old and longer");
  OutputFile file(folder / "a");
  file.write("new");
  file.commit();
  EXPECT_EQ(read_file(folder / "a"), "new");
}

TEST(OutputFile, ReservedSpaceThatIsNotUsedIsGivenBack) {
  const TemporaryFolder folder;
  OutputFile file(folder / "a");
  file.reserve(100'000);
  file.write("short");
  file.commit();
  EXPECT_EQ(read_file(folder / "a"), "short");
}

TEST(OutputFile, ReservingMoreThanTheDiskHasFails) {
  const TemporaryFolder folder;
  OutputFile file(folder / "a");
  EXPECT_ERROR(file.reserve(std::uint64_t{1} << 62), HasSubstr("no room"));
}

TEST(OutputFile, IsWrittenInAnyOrder) {
  const TemporaryFolder folder;
  OutputFile file(folder / "a");
  file.write_at(6, std::as_bytes(std::span("world!", 6)));
  file.write("hello ");
  std::string read(20, ' ');
  EXPECT_EQ(file.read_at(3, std::as_writable_bytes(std::span(read))), 9u);
  EXPECT_EQ(read.substr(0, 9), "lo world!");
  file.commit(11);
  EXPECT_EQ(read_file(folder / "a"), "hello world");
}

TEST(OutputFile, GoesOnWithWhatAKilledProcessLeft) {
  const TemporaryFolder folder;
  leave_behind([&] {
    OutputFile file(folder / "a");
    file.write("hello");
    die();
  });
  EXPECT_EQ(entries(folder.path()), 1);
  {
    const OutputFile other(folder / "a");
    EXPECT_EQ(entries(folder.path()), 2) << "it was not asked for";
  }
  OutputFile file(folder / "a", Leftover::kTake);
  EXPECT_EQ(entries(folder.path()), 1);
  file.write_at(5, std::as_bytes(std::span("!", 1)));
  file.commit(6);
  EXPECT_EQ(read_file(folder / "a"), "hello!");
}

TEST(OutputFolder, GoesOnWithWhatAKilledProcessLeft) {
  const TemporaryFolder folder;
  leave_behind([&] {
    const OutputFolder out(folder / "m", false);
    write_file(out.temporary() / "a", "hello");
    die();
  });
  EXPECT_FALSE(fs::exists(OutputFolder(folder / "m", false).temporary() / "a"));
  OutputFolder out(folder / "m", false, Leftover::kTake);
  EXPECT_EQ(read_file(out.temporary() / "a"), "hello");
  out.commit();
  EXPECT_EQ(read_file(folder / "m" / "a"), "hello");
  EXPECT_EQ(entries(folder.path()), 1);
}

TEST(Outputs, AreWrittenByOneProcessAtATime) {
  const TemporaryFolder folder;
  const OutputFolder out(folder / "m", false);
  const OutputFile file(folder / "a");
  write_file(out.temporary() / "b", "hello");
  const auto refused = HasSubstr("is being written by another process");
  EXPECT_ERROR(OutputFolder(folder / "m", false), refused);
  EXPECT_ERROR(OutputFile(folder / "a"), refused);
  // Under the names that a process of another number would give them.
  fs::rename(out.temporary(), folder / ".m.partial-1");
  fs::rename(file.temporary(), folder / ".a.partial-1");
  for (const Leftover leftover : {Leftover::kLeave, Leftover::kTake}) {
    EXPECT_ERROR(OutputFolder(folder / "m", false, leftover), refused);
    EXPECT_ERROR(OutputFile(folder / "a", leftover), refused);
  }
  EXPECT_EQ(read_file(folder / ".m.partial-1" / "b"), "hello");
  EXPECT_EQ(entries(folder.path()), 2);
  fs::remove_all(folder / ".m.partial-1");
}

TEST(Outputs, StayForLaterIfAsked) {
  const TemporaryFolder folder;
  {
    OutputFolder out(folder / "m", false);
    OutputFile file(folder / "a");
    write_file(out.temporary() / "b", "hello");
    file.write("hello");
    out.keep();
    file.keep();
  }
  EXPECT_FALSE(fs::exists(folder / "m") || fs::exists(folder / "a"));
  OutputFile file(folder / "a", Leftover::kTake);
  std::string read(5, ' ');
  EXPECT_EQ(file.read_at(0, std::as_writable_bytes(std::span(read))), 5u);
  EXPECT_EQ(read, "hello");
  EXPECT_EQ(read_file(OutputFolder(folder / "m", false, Leftover::kTake).temporary() / "b"),
            "hello");
}

TEST(OutputFolder, WhatCameInItsPlaceMeanwhileStays) {
  const TemporaryFolder folder;
  OutputFolder out(folder / "m", false);
  fs::create_directory(folder / "m");
  write_file(folder / "m/config.json", "{}");
  EXPECT_ERROR(out.commit(), HasSubstr("exists already"));
  EXPECT_EQ(read_file(folder / "m/config.json"), "{}");
}

TEST(OutputFile, FollowsALinkAndKeepsIt) {
  const TemporaryFolder folder;
  write_file(folder / "target", "old");
  fs::create_symlink("target", folder / "link");
  OutputFile file(folder / "link");
  file.write("new");
  file.commit();
  EXPECT_TRUE(fs::is_symlink(folder / "link"));
  EXPECT_EQ(read_file(folder / "target"), "new");
}

TEST(OutputFile, RefusesPlacesWhereNoFileCanBe) {
  const TemporaryFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  fs::create_symlink("nowhere", folder / "broken");
  EXPECT_ERROR(OutputFile(folder.path()), HasSubstr("is a folder"));
  EXPECT_ERROR(OutputFile(folder / "missing/a"), HasSubstr("cannot be written"));
  EXPECT_ERROR(OutputFile(folder / "pipe"), HasSubstr("not a regular file"));
  EXPECT_ERROR(OutputFile("/dev/null"), HasSubstr("not a regular file"));
  EXPECT_ERROR(OutputFile(folder / "broken"), HasSubstr("broken link"));
  EXPECT_ERROR(OutputFile(folder / std::string(5000, 'x')), HasSubstr("cannot be written"));
}

TEST(Outputs, MayHaveNamesAsLongAsTheFileSystemAllows) {
  const TemporaryFolder folder;
  const std::string longest(255, 'x');
  std::string other = longest.substr(1);
  other += 'y';
  OutputFile file(folder / longest);
  OutputFolder out(folder / other, false);
  file.write("a");
  write_file(out.temporary() / "config.json", "{}");
  file.commit();
  out.commit();
  OutputFolder again(folder / other, true);
  write_file(again.temporary() / "config.json", "{1}");
  again.commit();
  EXPECT_EQ(read_file(folder / longest), "a");
  EXPECT_EQ(read_file((folder / other) / "config.json"), "{1}");
  EXPECT_EQ(entries(folder.path()), 2);
  EXPECT_ERROR(OutputFolder(folder / (longest + "x"), false), HasSubstr("File name too long"));
}

TEST(OutputFolder, AppearsOnCommitOnly) {
  const TemporaryFolder folder;
  OutputFolder out(folder / "model/", false);
  write_file(out.temporary() / "config.json", "{}");
  EXPECT_FALSE(fs::exists(folder / "model"));
  out.commit();
  EXPECT_EQ(read_file(folder / "model/config.json"), "{}");
  EXPECT_EQ(entries(folder.path()), 1);
}

TEST(OutputFolder, LeavesNothingBehindWithoutCommit) {
  const TemporaryFolder folder;
  {
    const OutputFolder out(folder / "model", false);
    write_file(out.temporary() / "config.json", "{}");
  }
  EXPECT_EQ(entries(folder.path()), 0);
}

TEST(OutputFolder, ReplacesAModelFolderWhenAsked) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "model");
  write_file(folder / "model/config.json", "old");
  write_file(folder / "model/extra", "old");
  EXPECT_ERROR(OutputFolder(folder / "model", false), HasSubstr("exists already"));
  OutputFolder out(folder / "model", true);
  write_file(out.temporary() / "config.json", "new");
  EXPECT_EQ(read_file(folder / "model/config.json"), "old");
  out.commit();
  EXPECT_EQ(read_file(folder / "model/config.json"), "new");
  EXPECT_FALSE(fs::exists(folder / "model/extra"));
  EXPECT_EQ(entries(folder.path()), 1);
}

TEST(OutputFolder, ReplacesAnEmptyFolder) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "empty");
  OutputFolder out(folder / "empty", true);
  write_file(out.temporary() / "a", "1");
  out.commit();
  EXPECT_EQ(read_file(folder / "empty/a"), "1");
}

TEST(OutputFolder, NeverReplacesWhatIsNoModel) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "photos");
  write_file(folder / "photos/holiday", "precious");
  write_file(folder / "file", "precious");
  EXPECT_ERROR(OutputFolder(folder / "photos", true), HasSubstr("not a model folder"));
  EXPECT_ERROR(OutputFolder(folder / "file", true), HasSubstr("not a model folder"));
  EXPECT_EQ(read_file(folder / "photos/holiday"), "precious");
  EXPECT_ERROR(OutputFolder(folder / "no/such", false), HasSubstr("cannot be created"));
  EXPECT_EQ(entries(folder.path()), 2);
}

}  // namespace
}  // namespace nibble
