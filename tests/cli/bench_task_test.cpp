// nibble bench --task: the latency tables.
#include "cli/in_a_folder.h"

namespace nibble::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class BenchTask : public BesideAModel {
 protected:
  Outcome bench(std::vector<std::string> args) const {
    args.insert(args.begin(), {"bench", "model", "--text", stories_text().string()});
    return here(args);
  }
};

TEST_F(BenchTask, AMarkdownTableAndTheLimitUnderIt) {
  const Outcome outcome = bench({"--task", "benchmark"});
  expect_success(outcome);
  const std::vector<std::string> out = lines(outcome.out);
  ASSERT_EQ(out.size(), 11u) << outcome.out;
  EXPECT_EQ(out[0],
            "| Example# | Prompt Length (tokens) | New Tokens Generated | Total Time (s) | "
            "Prefill Phase (ms) | Time/Token (ms) | Tokens/Sec |");
  EXPECT_THAT(out[1], StartsWith("| -------: | --"));
  EXPECT_THAT(out[8], StartsWith("|        7 |                    256 |                   60 |"));
  EXPECT_EQ(out[9], "");
  EXPECT_THAT(out[10], StartsWith("limit: "));
  EXPECT_THAT(out[10], HasSubstr("GB/s read, 544.0 KiB of weights a token)"));
  EXPECT_EQ(outcome.err, "");
}

TEST_F(BenchTask, DecodePrintsTheTextsFirst) {
  const Outcome outcome = bench({"--task", "decode", "--format", "table"});
  expect_success(outcome);
  EXPECT_THAT(outcome.out, StartsWith(std::string(40, '*') + "\nWhat is the meaning of life?"));
  EXPECT_THAT(outcome.out, HasSubstr("\nHow did it all begin?"));
  EXPECT_THAT(outcome.out, HasSubstr("\nExample#  Prompt Length (tokens)  New Tokens"));
}

TEST_F(BenchTask, FormsForPrograms) {
  const Outcome csv = bench({"--task", "benchmark_exact", "--format", "csv"});
  expect_success(csv);
  const std::vector<std::string> out = lines(csv.out);
  ASSERT_EQ(out.size(), 3u);  // the context has 512 positions, and must hold a new token too
  EXPECT_EQ(out[0],
            "example,prompt_tokens,new_tokens,total_s,prefill_ms,ms_per_token,tokens_per_second");
  EXPECT_THAT(out[2], StartsWith("2,256,60,"));
  EXPECT_THAT(csv.err, HasSubstr("prompt of 2048 tokens is left out"));
  EXPECT_THAT(csv.err, HasSubstr("limit: "));
  for (const std::vector<std::string>& flags :
       {std::vector<std::string>{"--json"}, {"--format", "json"}}) {
    std::vector<std::string> args = {"--task", "decode", "-q"};
    args.insert(args.end(), flags.begin(), flags.end());
    const nlohmann::json json = bench(args).json();
    EXPECT_EQ(json["model"], "model");
    EXPECT_EQ(json["task"], "decode");
    EXPECT_GT(json["limit"], 0);
    ASSERT_EQ(json["rows"].size(), 10u);
    EXPECT_EQ(json["rows"][9]["example"], 10);
    EXPECT_EQ(json["rows"][9]["new_tokens"], 60);
  }
}

TEST_F(BenchTask, PromptsOfOtherLengths) {
  const nlohmann::json json = bench({"--task", "benchmark", "--lengths", "24,78", "--json"}).json();
  ASSERT_EQ(json["rows"].size(), 2u);
  EXPECT_EQ(json["rows"][1]["prompt_tokens"], 78);
  EXPECT_EQ(json["rows"][1]["new_tokens"], 60);
  expect_failure(bench({"--task", "decode", "--lengths", "24"}), 2, {"--lengths", "decode"});
  expect_failure(bench({"--task", "benchmark", "--lengths", "0"}), 2, {"--lengths", "\"0\""});
}

TEST_F(BenchTask, WhatIsMissingOrWrongIsOneLine) {
  expect_failure(bench({"--task", "benchmrak"}), 2, {"benchmrak", "did you mean benchmark?"});
  expect_failure(bench({"--task", "decode", "-n", "5"}), 2, {"--generate", "--task"});
  expect_failure(bench({"-p", "4"}), 2, {"--text", "--task"});
  Invocation run;
  run.args = {"bench", model_.string(), "--task", "benchmark"};
  run.env = {{"NIBBLE_DATA", folder_.path().string()}};
  expect_failure(run_command(run), 1, {"wiki.test.raw", "$NIBBLE_DATA", "wikitext"});
}

}  // namespace
}  // namespace nibble::testing
