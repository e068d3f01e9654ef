#include "nibble/eval/mmlu_data.h"

#include <cstdlib>
#include <map>

#include "core/error_matchers.h"
#include "core/temporary_folder.h"
#include "nibble/core/mapped_file.h"
#include "nibble/formats/csv.h"
#include "paths.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using ::nibble::testing::TemporaryFolder;
using ::nibble::testing::write_file;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const fs::path kFolder = testing::test_file("eval/fixtures/mmlu");

TEST(MmluData, FiftySevenSubjectsInFourCategories) {
  EXPECT_EQ(mmlu_subjects().size(), 57u);
  EXPECT_TRUE(std::is_sorted(mmlu_subjects().begin(), mmlu_subjects().end()));
  std::map<std::string, int> count;
  for (const std::string& name : mmlu_subjects()) ++count[mmlu_category(name)];
  // As many as lm-evaluation-harness has in each.
  EXPECT_EQ(count["stem"], 19);
  EXPECT_EQ(count["humanities"], 13);
  EXPECT_EQ(count["social_sciences"], 12);
  EXPECT_EQ(count["other"], 13);
  EXPECT_EQ(mmlu_category("kettles"), "other");
}

TEST(MmluData, ReadsASubject) {
  const MmluSubject subject = load_mmlu_subject(kFolder, "household", 0);
  EXPECT_EQ(subject.name, "household");
  EXPECT_EQ(subject.shots.size(), 5u);  // of six
  ASSERT_EQ(subject.questions.size(), 4u);
  EXPECT_EQ(subject.questions[1].question, "Which of these, \"as a rule\", holds water?");
  EXPECT_EQ(subject.questions[1].choices,
            (std::array<std::string, 4>{"A sieve", "A cup, upright", "A fork", "A net"}));
  EXPECT_EQ(subject.questions[1].answer, 'B');
  EXPECT_EQ(subject.questions[2].question,
            "Statement 1 | Ice is cold.\nStatement 2 | Fire is cold.");
  EXPECT_EQ(load_mmlu_subject(kFolder, "household", 2).questions.size(), 2u);
  EXPECT_EQ(load_mmlu_subject(kFolder, "household", 9).questions.size(), 4u);
}

TEST(MmluData, ListsOfSubjects) {
  EXPECT_EQ(parse_mmlu_subjects("all", kFolder), mmlu_subjects());
  EXPECT_THAT(parse_mmlu_subjects("anatomy,household", kFolder),
              ElementsAre("anatomy", "household"));
  EXPECT_ERROR(parse_mmlu_subjects("anatomi", kFolder),
               AllOf(HasSubstr("\"anatomi\""), HasSubstr("did you mean anatomy?")));
  EXPECT_ERROR(parse_mmlu_subjects("", kFolder), HasSubstr("\"\""));
  EXPECT_ERROR(parse_mmlu_subjects("anatomy,", kFolder), HasSubstr("\"\""));
  EXPECT_ERROR(parse_mmlu_subjects("../test/household", kFolder), HasSubstr("unknown subject"));
  EXPECT_ERROR(parse_mmlu_subjects("anatomy,virology,anatomy", kFolder), HasSubstr("twice"));
}

TEST(MmluData, BadFilesAreErrorsWithFileAndLine) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "dev");
  fs::create_directory(folder / "test");
  const fs::path dev = folder / "dev/x_dev.csv";
  const fs::path test = folder / "test/x_test.csv";
  const std::string good = "q,1,2,3,4,A\n";
  const auto load = [&] { load_mmlu_subject(folder.path(), "x", 30); };
  EXPECT_ERROR(load(), HasSubstr(dev.string()));
  write_file(dev, good);
  EXPECT_ERROR(load(), HasSubstr(test.string()));
  const auto bad = [&](const std::string& text, const std::string& message) {
    write_file(test, text);
    EXPECT_ERROR(load(), AllOf(HasSubstr(test.string()), HasSubstr(message)));
  };
  bad("", "no questions");
  bad(good + "q,1,2,3,A\n", ":2: expected 6 columns (question, A, B, C, D, answer), found 5");
  bad("\"q\n?\",1,2,3,4,B\r\nq,1,2,3,4,5,A\r\n", ":3: expected 6 columns");
  bad(good + "q,1,2,3,4,E\n", ":2: the answer: expected A, B, C or D, found \"E\"");
  bad("question,A,B,C,D,answer\n" + good,
      ":1: the answer: expected A, B, C or D, found \"answer\"");
  bad("q,1,2,3,4,a\n", "found \"a\"");
  bad(good + "\"q,1,2,3,4,A\n", ":2: a quote is opened");
  bad(good + "\"q\"?,1,2,3,4,A\n", ":2: text behind");
  // What is wrong behind the limit is wrong all the same: the file is not what it should be.
  write_file(test, good + good + "q\n");
  EXPECT_ERROR(load_mmlu_subject(folder.path(), "x", 1), HasSubstr(":3:"));
}

TEST(MmluData, DefaultFolderIsUnderTheDataFolder) {
  const TemporaryFolder folder;
  ::unsetenv("NIBBLE_DATA");
  EXPECT_ERROR(default_mmlu_folder(), AllOf(HasSubstr("--data"), HasSubstr("not set")));
  ::setenv("NIBBLE_DATA", folder.path().c_str(), 1);
  EXPECT_ERROR(default_mmlu_folder(), HasSubstr(folder.path().string()));
  fs::create_directories(folder / "dev");
  fs::create_directories(folder / "test");
  EXPECT_EQ(default_mmlu_folder(), folder.path() / "");
  fs::create_directories(folder / "mmlu/dev");
  fs::create_directories(folder / "mmlu/test");
  EXPECT_EQ(default_mmlu_folder(), folder / "mmlu");
  ::unsetenv("NIBBLE_DATA");
}

TEST(MmluData, ReadsThePublishedFiles) {
  const char* shared = std::getenv("NIBBLE_SHARED");
  if (shared == nullptr) GTEST_SKIP() << "NIBBLE_SHARED names no folder of larger test files";
  std::size_t questions = 0;
  for (const std::string& name : mmlu_subjects()) {
    const MmluSubject subject = load_mmlu_subject(fs::path(shared) / "data/mmlu", name, 0);
    EXPECT_EQ(subject.shots.size(), 5u) << name;
    questions += subject.questions.size();
  }
  EXPECT_EQ(questions, 14042u);
}

}  // namespace
}  // namespace nibble
