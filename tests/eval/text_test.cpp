#include "nibble/eval/text.h"

#include <cstdlib>

#include "core/error_matchers.h"
#include "core/temporary_folder.h"
#include "nibble/core/sha256.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using ::nibble::testing::read_file;
using ::nibble::testing::TemporaryFolder;
using ::nibble::testing::write_file;
using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(JoinRows, PutsSeparatorsBetweenRows) {
  const std::string raw = " \n = Title = \n \n One line . \n\t\nlast";
  EXPECT_EQ(join_rows(raw, PerplexityProtocol::kSegments),
            "\n = Title = \n\n\n One line . \n\n\nlast");
  EXPECT_EQ(join_rows(raw, PerplexityProtocol::kPaper),
            "\n\n = Title = \n\n\n\n\n One line . \n\n\n\n\nlast");
}

TEST(JoinRows, OddTexts) {
  EXPECT_EQ(join_rows("", PerplexityProtocol::kSegments), "");
  EXPECT_EQ(join_rows("\n", PerplexityProtocol::kSegments), "");
  EXPECT_EQ(join_rows("\n\n\n", PerplexityProtocol::kSegments), "\n\n");
  EXPECT_EQ(join_rows("a", PerplexityProtocol::kPaper), "a");
  EXPECT_EQ(join_rows("a\n", PerplexityProtocol::kPaper), "a\n");
  EXPECT_EQ(join_rows("a\r\n \r\nb", PerplexityProtocol::kSegments),
            join_rows("a\n \nb", PerplexityProtocol::kSegments));
}

TEST(JoinRows, GivesThePublishedTexts) {
  const char* shared = std::getenv("NIBBLE_SHARED");
  if (shared == nullptr) GTEST_SKIP() << "NIBBLE_SHARED names no folder of larger test files";
  const std::string raw = read_file(fs::path(shared) / "data/wikitext-2-raw/wiki.test.raw");
  const std::string segments = join_rows(raw, PerplexityProtocol::kSegments);
  EXPECT_EQ(segments.size(), 1292013u);
  EXPECT_EQ(sha256_hex(segments),
            "aca2f46735043bcfd0a44eca981d04627b9cdf74c4c9a04bf0856d04066f58fc");
  const std::string paper = join_rows(raw, PerplexityProtocol::kPaper);
  EXPECT_EQ(paper.size(), 1296370u);
  EXPECT_EQ(sha256_hex(paper), "696cca6b65a171b0a358a4be6732cdfdf2dd6164a32e20fd70e3c13fc4dfae83");
}

TEST(EvaluationText, IsJoinedByNameOrOnRequest) {
  const TemporaryFolder folder;
  write_file(folder / "wiki.test.raw", "a\nb\n");
  write_file(folder / "text.txt", "a\nb\n");
  const auto read = [&](const char* name, bool as_rows) {
    return read_evaluation_text(folder / name, PerplexityProtocol::kSegments, as_rows);
  };
  EXPECT_EQ(read("wiki.test.raw", false), "a\n\nb\n");
  EXPECT_EQ(read("text.txt", false), "a\nb\n");
  EXPECT_EQ(read("text.txt", true), "a\n\nb\n");
  EXPECT_ERROR(read("absent.txt", false), HasSubstr("absent.txt"));
}

TEST(EvaluationText, DefaultIsUnderTheDataFolder) {
  const TemporaryFolder folder;
  ::unsetenv("NIBBLE_DATA");
  EXPECT_ERROR(default_evaluation_text(), AllOf(HasSubstr("--text"), HasSubstr("not set")));
  ::setenv("NIBBLE_DATA", folder.path().c_str(), 1);
  EXPECT_ERROR(default_evaluation_text(), HasSubstr(folder.path().string()));
  fs::create_directory(folder / "wikitext-2-raw");
  write_file(folder / "wikitext-2-raw/wiki.test.raw", "");
  EXPECT_EQ(default_evaluation_text(), folder / "wikitext-2-raw/wiki.test.raw");
  write_file(folder / "wiki.test.raw", "");
  EXPECT_EQ(default_evaluation_text(), folder / "wiki.test.raw");
  ::unsetenv("NIBBLE_DATA");
}

}  // namespace
}  // namespace nibble
