#include "nibble/formats/gzip.h"

#include "core/error_matchers.h"
#include "core/temporary_folder.h"
#include "nibble/core/mapped_file.h"
#include "paths.h"

namespace nibble {
namespace {

using ::nibble::testing::TemporaryFolder;
using ::nibble::testing::write_file;
using ::testing::AllOf;
using ::testing::HasSubstr;

const std::string kPlain = testing::test_file("eval/fixtures/humaneval/own.jsonl");
const std::string kZipped = kPlain + ".gz";

TEST(Gzip, PlainTextIsReadAsItIs) {
  EXPECT_EQ(read_text_or_gzip(kPlain), read_text_file(kPlain));
  const TemporaryFolder folder;
  write_file(folder / "empty", "");
  EXPECT_EQ(read_text_or_gzip(folder / "empty"), "");
  EXPECT_ERROR(read_text_or_gzip(folder / "absent"), HasSubstr("absent"));
}

TEST(Gzip, MembersAreInflated) {
  const std::string text = read_text_file(kPlain);
  EXPECT_EQ(read_text_or_gzip(kZipped), text);
  const TemporaryFolder folder;
  const std::string member = read_text_file(kZipped);
  write_file(folder / "two.gz", member + member);
  EXPECT_EQ(read_text_or_gzip(folder / "two.gz"), text + text);
}

TEST(Gzip, DamageAndSizeAreErrors) {
  const TemporaryFolder folder;
  const std::string member = read_text_file(kZipped);
  const auto read = [&](const std::string& bytes, std::size_t limit = 1 << 20) {
    write_file(folder / "bad.gz", bytes);
    read_text_or_gzip(folder / "bad.gz", limit);
  };
  for (const std::size_t size : {std::size_t{2}, std::size_t{12}, member.size() - 1}) {
    EXPECT_ERROR(read(member.substr(0, size)), AllOf(HasSubstr("bad.gz"), HasSubstr("cut off")));
  }
  std::string other = member;
  other[other.size() - 6] ^= 1;  // of the checksum
  EXPECT_ERROR(read(other), AllOf(HasSubstr("bad.gz"), HasSubstr("damaged")));
  EXPECT_ERROR(read(member + "rest"), HasSubstr("damaged"));
  EXPECT_ERROR(read(member, 300), HasSubstr("more than 300 bytes"));
}

}  // namespace
}  // namespace nibble
