// nibble run_awq and run_smoothquant beyond the published lines.
#include "cli/in_a_folder.h"
#include "paths.h"

namespace nibble::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class Sheet : public InAFolder {
 protected:
  Sheet() {
    copy_stories(folder_ / "stories");
    write_file(folder_ / "wiki.test.raw", read_file(stories_text()));
  }

  Outcome run(const std::string& command, std::vector<std::string> args,
              const std::string& input = "") const {
    Invocation invocation;
    args.insert(args.begin(), {command, "--model_name", "stories"});
    invocation.args = std::move(args);
    invocation.env = {{"NIBBLE_MODELS", folder_.path().string()},
                      {"NIBBLE_DATA", folder_.path().string()}};
    invocation.folder = folder_.path();
    invocation.input = input;
    return run_command(invocation);
  }
  Outcome awq(std::vector<std::string> args) const { return run("run_awq", std::move(args)); }
  Outcome quantize() const { return awq({"--algorithm", "pergrp", "--task", "quantize"}); }
};

TEST_F(Sheet, ACheckpointIsMadeOnceAndNamedWhereItIsMissing) {
  expect_failure(awq({"--algorithm", "pergrp", "--group_size", "32", "--w_bit", "3"}), 1,
                 {"stories: no pergrp-w3-g32 checkpoint of it yet",
                  "nibble run_awq --model_name stories --task quantize --algorithm pergrp --w_bit "
                  "3 --group_size 32"});
  expect_success(quantize());
  const Outcome again = quantize();
  expect_success(again);
  EXPECT_THAT(again.err, AllOf(HasSubstr("/cache/stories-"), HasSubstr("/pergrp-w4-g128: is there "
                                                                       "already (--force")));
  EXPECT_THAT(again.out, StartsWith("LlamaForCausalLM(\n"));
  EXPECT_THAT(again.out, HasSubstr("\n****************************************\nWhat is the "
                                   "meaning of life?"));
  expect_success(awq({"--algorithm", "pergrp", "--task", "quantize", "--force", "--json"}));
}

TEST_F(Sheet, AFolderThatCannotBeMadeIsNamed) {
  write_file(folder_ / "cache", "a file");
  expect_failure(quantize(), 1, {"/cache/stories-", "cannot be created: Not a directory"});
}

TEST_F(Sheet, WeightsThatWereReplacedAreNotTakenForTheOldOnes) {
  expect_success(quantize());
  expect_success(awq({"--algorithm", "pergrp", "--task", "infershapes"}));
  write_file(folder_ / "stories/model.safetensors", "other weights");
  expect_failure(awq({"--algorithm", "pergrp"}), 1, {"model.safetensors"});
}

TEST_F(Sheet, PrecisionBf16AndQuantizedModelsNeedNoCheckpoint) {
  const Outcome bf16 = awq({"--precision", "bf16", "--task", "benchmark", "--format", "csv"});
  expect_success(bf16);
  EXPECT_EQ(lines(bf16.out).size(), 8u);
  expect_success(here({"quantize", "stories", "-o", "packed"}));
  Invocation invocation;
  invocation.args = {"run_awq", "--model_name", "packed", "--task", "decode", "--json"};
  invocation.folder = folder_.path();
  const nlohmann::json json = run_command(invocation).json();
  EXPECT_EQ(json["model"], "packed");
  EXPECT_EQ(json["rows"].size(), 10u);
}

TEST_F(Sheet, ProfilesShowOperatorsAndLayersOfPromptAndTokens) {
  const Outcome outcome =
      awq({"--precision", "bf16", "--task", "profilemodel", "--fast_attention"});
  expect_success(outcome);
  EXPECT_THAT(outcome.out, HasSubstr("\nPrefill: 128 tokens a pass, 1 pass, "));
  EXPECT_THAT(outcome.out, HasSubstr("\nDecode: 1 token a pass, 59 passes, "));
  EXPECT_THAT(outcome.out, HasSubstr("\nq k v "));
  const nlohmann::json json =
      awq({"--precision", "bf16", "--task", "profilemodel256", "--json"}).json();
  EXPECT_EQ(json["rows"][0]["prompt_tokens"], 256);
  EXPECT_EQ(json["profile"]["decode"]["passes"], 59);
  const Outcome tables = awq({"--precision", "bf16", "--task", "benchmark_exact", "--profilegemm",
                              "--profile_layer", "--format", "csv"});
  expect_success(tables);
  EXPECT_THAT(tables.out, HasSubstr("\nexample,operator,calls,prompt_ms,"));
  EXPECT_THAT(tables.out, HasSubstr("\n2,gate up,5,"));
  EXPECT_THAT(tables.out, HasSubstr("\nexample,layer,prompt_ms,token_ms\n1,0,"));
  EXPECT_THAT(tables.out, HasSubstr("\n2,outside,"));
}

TEST_F(Sheet, APromptLeavesRoomForTheTokensBehindIt) {
  const nlohmann::json json =
      awq({"--precision", "bf16", "--task", "profilemodel2k", "--json"}).json();
  EXPECT_EQ(json["rows"][0]["prompt_tokens"], 512 - 59);
  EXPECT_EQ(json["rows"][0]["new_tokens"], 60);
}

TEST_F(Sheet, ShapesAndOperationsNeedNoCheckpoint) {
  const Outcome shapes = awq({"--task", "infershapes"});
  expect_success(shapes);
  EXPECT_THAT(shapes.out, HasSubstr("|          1 |     64 |      64 |    10 | q_proj o_proj"));
  EXPECT_THAT(shapes.out, HasSubstr("|        128 |"));
  const nlohmann::json counts = awq({"--task", "countgops", "--json"}).json();
  EXPECT_EQ(counts["task"], "countgops");
  EXPECT_EQ(counts["rows"].size(), 8u);  // 4 to 512
  EXPECT_GT(counts["rows"][7]["prompt_gop"], counts["rows"][7]["prompt_linear_gop"]);
}

TEST_F(Sheet, PerplexityIsAValueOrATable) {
  const std::vector<std::string> base = {"--algorithm", "pergrp",       "--task",
                                         "perplexity",  "--n_segments", "2"};
  expect_success(quantize());
  const Outcome value = awq(base);
  expect_success(value);
  EXPECT_THAT(value.out, StartsWith("LlamaForCausalLM(\n"));
  EXPECT_THAT(value.out, HasSubstr("\n[2] "));
  EXPECT_THAT(value.out, HasSubstr("perplexity, 512 tokens"));
  std::vector<std::string> table = base;
  table.insert(table.end(), {"--seqlens", "16,64", "--json"});
  const nlohmann::json json = awq(table).json();
  ASSERT_EQ(json["models"].size(), 2u);
  EXPECT_EQ(json["models"][0]["title"], "bf16");
  EXPECT_EQ(json["models"][1]["title"], "pergrp g128");
  EXPECT_THAT(json["models"][1]["model"].get<std::string>(), HasSubstr("/pergrp-w4-g128"));
  EXPECT_EQ(json["models"][1]["results"][1]["seqlen"], 64);
  table.back() = "--format=json";
  EXPECT_EQ(awq(table).json()["models"], json["models"]);
  table.pop_back();
  EXPECT_THAT(awq(table).out,
              HasSubstr("\n)\n\n|                       |      bf16 | pergrp g128 |\n"));
  std::vector<std::string> words = base;
  words.insert(words.end(), {"--dataset", "non-raw"});
  EXPECT_THAT(awq(words).err, HasSubstr("wiki.test.tokens"));
  write_file(folder_ / "wiki.test.tokens", " Once upon a <unk>\n");
  EXPECT_THAT(awq(words).err, HasSubstr("the text has 9 tokens"));
}

TEST_F(Sheet, TheColumnsOfATableOfPerplexitiesAreInTheSheetsOrder) {
  std::string text;
  for (int i = 0; i < 12; ++i) text += read_file(stories_text());
  write_file(folder_ / "wiki.train.raw", text);
  for (const char* const group_size : {"128", "32"}) {
    expect_success(
        awq({"--algorithm", "pergrp", "--task", "quantize", "--group_size", group_size}));
  }
  expect_success(run("run_smoothquant", {"--task", "quantize"}));
  const Outcome table =
      awq({"--task", "perplexity", "--seqlens", "16", "--n_segments", "40", "--format", "csv"});
  expect_success(table);
  EXPECT_THAT(table.out, StartsWith("measure,bf16,pergrp g32,pergrp g128,w8a16,w8a8\n"));
  EXPECT_THAT(table.out, HasSubstr("\nactivations,bf16,bf16,bf16,bf16,int8\n"));
}

TEST_F(Sheet, QuestionsAreAskedOfTheCheckpoint) {
  const std::string data = test_file("eval/fixtures/");
  expect_success(quantize());
  const std::vector<std::string> mmlu = {"--algorithm", "pergrp",     "--task",    "mmlu", "--data",
                                         data + "mmlu", "--subjects", "household", "-c",   "1200"};
  std::vector<std::string> as_json = mmlu;
  as_json.insert(as_json.end(), {"--format", "json"});
  const nlohmann::json json = awq(as_json).json();
  EXPECT_EQ(json["subjects"][0]["n"], 4);
  EXPECT_LT(json["bits_per_weight"], 5);
  const Outcome table = awq(mmlu);
  EXPECT_THAT(table.out, AllOf(StartsWith("LlamaForCausalLM(\n"), HasSubstr("\n| household "),
                               HasSubstr("\n\nasked by logits, 5 shots")));
  const std::vector<std::string> humaneval = {
      "--algorithm",  "pergrp", "--task", "humaneval", "--data", data + "humaneval/own.jsonl.gz",
      "--max_tokens", "3"};
  const Outcome completed = awq(humaneval);
  expect_success(completed);
  EXPECT_THAT(completed.out, HasSubstr("humaneval-stories-pergrp-g128.jsonl: 3 completions"));
  EXPECT_EQ(lines(read_file(folder_ / "humaneval-stories-pergrp-g128.jsonl")).size(), 3u);
}

TEST_F(Sheet, ChatNeedsATemplate) {
  const std::vector<std::string> args = {"--precision", "bf16", "--task", "chat", "-q"};
  expect_failure(run("run_awq", {"--precision", "bf16", "--task", "chat", "--json"}, "Hello\n"), 1,
                 {"no chat template"});
  write_file(folder_ / "stories/chat_template.jinja", "{{ messages[-1].content }}");
  const Outcome outcome = run("run_awq", args, "Once upon a time\n");
  expect_success(outcome);
  EXPECT_THAT(outcome.out, HasSubstr(", there was a little"));
}

TEST_F(Sheet, AMisspeltFlagOrValueGetsTheOneThatWasMeant) {
  expect_failure(awq({"--algoritm", "awq"}), 2, {"--algoritm", "did you mean --algorithm?"});
  expect_failure(awq({"--algorithm", "awqpluss"}), 2, {"awqpluss", "did you mean awqplus?"});
  expect_failure(awq({"--task", "benchmark-long"}), 2, {"did you mean benchmark_long?"});
  expect_failure(awq({"--fast_atention"}), 2, {"did you mean --fast_attention?"});
  expect_failure(here({"run_awq", "--model-name", "x"}), 2, {"did you mean --model_name?"});
  expect_failure(here({"run_awq"}), 2, {"--model_name is required"});
  expect_failure(awq({"--precision", "w8a8"}), 2, {"--precision", "w8a8"});
  expect_failure(run("run_smoothquant", {"--precision", "w4abf16"}), 2, {"--precision"});
  expect_failure(awq({"--task", "quantize", "--precision", "bf16"}), 2, {"quantize", "bf16"});
  expect_failure(awq({"--task", "decode", "--seqlens", "16"}), 2,
                 {"--seqlens is of --task perplexity, not of decode"});
  expect_failure(awq({"--task", "humaneval", "--n", "2"}), 2, {"--temperature"});
}

}  // namespace
}  // namespace nibble::testing
