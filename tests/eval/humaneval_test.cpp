#include "nibble/eval/humaneval.h"

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "core/error_matchers.h"
#include "core/temporary_folder.h"
#include "eval/fixtures.h"
#include "nibble/core/json.h"
#include "nibble/runtime/generate.h"
#include "paths.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using ::nibble::testing::TemporaryFolder;
using ::nibble::testing::write_file;
using ::testing::AllOf;
using ::testing::HasSubstr;

const fs::path kFile = testing::test_file("eval/fixtures/humaneval/own.jsonl");

TEST(HumanEvalFiles, AreReadPlainAndGzipped) {
  for (const char* end : {"", ".gz"}) {
    const std::vector<HumanEvalProblem> problems = load_humaneval(kFile.string() + end);
    ASSERT_EQ(problems.size(), 3u);
    EXPECT_EQ(problems[1].task_id, "Own/1");
    EXPECT_EQ(problems[1].prompt, "def is_even(n):\n    \"\"\" Whether n is even. \"\"\"\n");
  }
}

TEST(HumanEvalFiles, BadLinesAreErrorsWithTheirNumber) {
  const TemporaryFolder folder;
  const fs::path file = folder / "bad.jsonl";
  const std::string good = R"({"task_id": "a", "prompt": "b"})";
  const auto refuse = [&](const std::string& text, const std::string& where,
                          const std::string& what) {
    write_file(file, text);
    EXPECT_ERROR(load_humaneval(file), AllOf(HasSubstr(file.string() + where), HasSubstr(what)));
  };
  refuse(good + "\n\n{", ":3", "");
  refuse(good + "\n[]\n", ":2", "object");
  refuse(good + "\n{\"task_id\": \"b\"}\n", ":2", "\"prompt\"");
  refuse(good + "\r\n" + good + "\r\n", ":2", "a again");
  refuse("\n", "", "no problems");
}

TEST(HumanEvalFiles, DefaultIsUnderTheDataFolder) {
  const TemporaryFolder folder;
  ::unsetenv("NIBBLE_DATA");
  EXPECT_ERROR(default_humaneval_file(), AllOf(HasSubstr("--data"), HasSubstr("not set")));
  ::setenv("NIBBLE_DATA", folder.path().c_str(), 1);
  EXPECT_ERROR(default_humaneval_file(), HasSubstr(folder.path().string()));
  write_file(folder / "HumanEval.jsonl", "");
  EXPECT_EQ(default_humaneval_file(), folder / "HumanEval.jsonl");
  ::unsetenv("NIBBLE_DATA");
}

TEST(HumanEvalFiles, LinesForTheScorer) {
  EXPECT_EQ(humaneval_line({"Own/0", "def f():\n"}, "    return \"\u00e9\"\n"),
            "{\"task_id\":\"Own/0\",\"completion\":\"    return \\\"\u00e9\\\"\\n\"}\n");
}

class HumanEval : public ::testing::Test {
 protected:
  std::vector<std::string> complete(const HumanEvalOptions& options) {
    return complete_humaneval(model_, problems_, options).completions;
  }

  ThreadPool pool_;
  Model model_{testing::data_file("stories260K"), pool_, kF32};
  std::vector<HumanEvalProblem> problems_ = load_humaneval(kFile);
};

TEST_F(HumanEval, CompletionsAreThoseOfEachPromptAlone) {
  const Tokenizer tokenizer = model_.checkpoint().load_tokenizer();
  const std::vector<std::string> all = complete({.max_tokens = 40});
  ASSERT_EQ(all.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    KvCache cache = model_.make_cache();
    Sequence sequence(tokenizer, model_.spec(), tokenizer.encode(problems_[i].prompt), 512,
                      {.max_tokens = 40,
                       .stop = {"\nclass", "\ndef", "\n#", "\nif", "\nprint"},
                       .end_ids = tokenizer.end_ids()});
    EXPECT_EQ(all[i], generate(model_, cache, sequence, [](std::string_view) {}).text) << i;
  }
}

TEST_F(HumanEval, SamplesDifferAndComeAgainWithTheirSeed) {
  const HumanEvalOptions options{.samples = 4, .temperature = 1.5, .seed = 3, .max_tokens = 12};
  const std::vector<std::string> all = complete(options);
  ASSERT_EQ(all.size(), 12u);
  EXPECT_NE(all[0], all[1]);
  EXPECT_NE(all[0], all[4]);
  EXPECT_EQ(complete(options), all);
  HumanEvalOptions other = options;
  other.seed = 100;
  EXPECT_NE(complete(other), all);
}

TEST_F(HumanEval, PromptsMustFit) {
  EXPECT_ERROR(complete({.context = 20}), AllOf(HasSubstr("Own/0"), HasSubstr("has 20")));
}

}  // namespace
}  // namespace nibble
