// The tasks of eval beside perplexity, as a user runs them, with the small model.
#include <cmath>

#include "cli/in_a_folder.h"
#include "nibble/eval/mmlu_data.h"
#include "paths.h"

namespace nibble::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

class EvalTasks : public BesideAModel {
 protected:
  Outcome mmlu(std::vector<std::string> more = {}) const {
    std::vector<std::string> args = {"eval",   "model", "--task", "mmlu",
                                     "--data", data_,   "-c",     "1200"};
    args.insert(args.end(), more.begin(), more.end());
    return here(args);
  }
  const std::string data_ = test_file("eval/fixtures/mmlu");
};

TEST_F(EvalTasks, MmluInOneDocument) {
  const Outcome outcome = mmlu({"--subjects", "household", "--json", "-q"});
  expect_success(outcome);
  EXPECT_EQ(outcome.err, "");
  const auto json = outcome.json();
  EXPECT_EQ(json["task"], "mmlu");
  EXPECT_EQ(json["model"], "model");
  EXPECT_EQ(json["style"], "base");
  ASSERT_EQ(json["subjects"].size(), 1u);
  const auto& subject = json["subjects"][0];
  EXPECT_EQ(subject["name"], "household");
  EXPECT_EQ(subject["n"], 4);
  const std::string answers = subject["answers"];
  EXPECT_THAT(answers, MatchesRegex("[ABCD]{4}"));
  int correct = 0;
  for (std::size_t i = 0; i < 4; ++i) correct += answers[i] == "BBCD"[i];
  EXPECT_EQ(subject["accuracy"], correct / 4.0);
  EXPECT_EQ(json["accuracy"], correct / 4.0);
  EXPECT_GT(json["bits_per_weight"], 15.9);
  EXPECT_EQ(
      mmlu({"--subjects", "household", "--json", "--one-by-one"}).json()["subjects"][0]["answers"],
      answers);
  EXPECT_EQ(
      mmlu({"--subjects", "household", "--json", "--limit", "2"}).json()["subjects"][0]["answers"],
      answers.substr(0, 2));
}

TEST_F(EvalTasks, MmluOfAllSubjectsIsATableByCategory) {
  for (const char* part : {"dev", "test"}) {
    fs::create_directories(folder_ / "mmlu" / part);
    for (const std::string& name : mmlu_subjects()) {
      write_file(folder_ / "mmlu" / part / (name + "_" + part + ".csv"), "1 + 1?,1,2,3,4,B\n");
    }
  }
  Invocation run;
  run.args = {"eval", "model", "--task", "mmlu", "--subjects", "all"};
  run.folder = folder_.path();
  run.env = {{"NIBBLE_DATA", folder_.path().string()}};
  const Outcome outcome = run_command(run);
  expect_success(outcome);
  for (const char* row : {"\nworld_religions", "\nstem (19)", "\nhumanities (13)",
                          "\nsocial_sciences (12)", "\nother (13)", "\nall questions (micro)",
                          "\nmean of the subjects (macro)", "\nasked by logits, 5 shots"}) {
    EXPECT_THAT(outcome.out, HasSubstr(row));
  }
  fs::remove(folder_ / "mmlu/test/virology_test.csv");
  expect_failure(run_command(run), 1, {"mmlu/test/virology_test.csv"});
}

TEST_F(EvalTasks, MmluGoesOnWhereItWasStopped) {
  const fs::path file = folder_ / "answers.json";
  const std::vector<std::string> args = {"--subjects", "household", "-o", "answers.json", "--json"};
  const std::string all = mmlu(args).json()["subjects"][0]["answers"];
  auto kept = nlohmann::json::parse(read_file(file));
  EXPECT_EQ(kept["subjects"][0]["answers"], all);
  // What is kept is taken as it is, what is missing asked for.
  std::string answers = all;
  answers[0] = all[0] == 'A' ? 'B' : 'A';
  answers[2] = '.';
  kept["subjects"][0]["answers"] = answers;
  write_file(file, kept.dump());
  answers[2] = all[2];
  EXPECT_EQ(mmlu(args).json()["subjects"][0]["answers"], answers);
  const std::string before = read_file(file);
  expect_failure(mmlu({"--subjects", "household", "-o", "answers.json", "--kv", "int8", "-q"}), 1,
                 {"answers.json", "kv \"bf16\"", "\"int8\""});
  EXPECT_EQ(read_file(file), before);
}

TEST_F(EvalTasks, MmluStyles) {
  expect_failure(mmlu({"--subjects", "household", "--style", "chat", "-q"}), 1, {"chat template"});
  fs::rename(model_, folder_ / "a-chat-model");
  write_file(folder_ / "a-chat-model/chat_template.jinja", "{{ messages[0].content }}");
  const Outcome chat = here({"eval", "a-chat-model", "--task", "mmlu", "--data", data_,
                             "--subjects", "household", "--json"});
  expect_success(chat);
  EXPECT_EQ(chat.json()["style"], "chat");
  EXPECT_THAT(chat.json()["subjects"][0]["answers"].get<std::string>(), MatchesRegex("[-ABCD]{4}"));
  const Outcome base = here({"eval", "a-chat-model", "--task", "mmlu", "--data", data_,
                             "--subjects", "household", "--style", "base", "-c", "1200", "--json"});
  EXPECT_EQ(base.json()["style"], "base");
}

TEST_F(EvalTasks, HumanEvalWritesLinesForTheScorer) {
  const std::string data = test_file("eval/fixtures/humaneval/own.jsonl.gz");
  const auto run = [&](std::vector<std::string> more) {
    std::vector<std::string> args = {"eval", "model", "--task", "humaneval", "--data", data, "-q"};
    args.insert(args.end(), more.begin(), more.end());
    return here(args);
  };
  const Outcome outcome =
      run({"-o", "out.jsonl", "--n", "2", "--temperature", "0.5", "--max-tokens", "5"});
  expect_success(outcome);
  EXPECT_THAT(outcome.out, HasSubstr("out.jsonl: 6 completions of 3 problems"));
  const std::vector<std::string> completions = lines(read_file(folder_ / "out.jsonl"));
  ASSERT_EQ(completions.size(), 6u);
  for (std::size_t i = 0; i < 6; ++i) {
    const auto line = nlohmann::json::parse(completions[i]);
    EXPECT_EQ(line.size(), 2u);
    EXPECT_EQ(line["task_id"], "Own/" + std::to_string(i / 2));
    EXPECT_TRUE(line["completion"].is_string());
  }
  const auto json = run({"-o", "greedy.jsonl", "--max-tokens", "3", "--json"}).json();
  EXPECT_EQ(json["task"], "humaneval");
  EXPECT_EQ(json["problems"], 3);
  EXPECT_EQ(json["output"], "greedy.jsonl");
  EXPECT_LE(json["generated_tokens"], 9);
  expect_failure(run({}), 2, {"-o FILE"});
  expect_failure(run({"-o", "x", "--n", "2"}), 2, {"--temperature"});
  expect_failure(run({"-o", "model/config.json"}), 1, {"replace the model"});
  expect_failure(here({"eval", "model", "--task", "humaneval", "--data", "none", "-o", "x"}), 1,
                 {"none"});
  EXPECT_FALSE(fs::exists(folder_ / "x"));
}

TEST_F(EvalTasks, HellaSwagAndWinoGrandeGiveAnAccuracyWithItsInterval) {
  const std::string hellaswag = test_file("eval/fixtures/hellaswag.txt");
  const std::string winogrande = test_file("eval/fixtures/winogrande.csv");
  const Outcome text = here({"eval", "model", "--task", "hellaswag", "--data", hellaswag});
  expect_success(text);
  EXPECT_THAT(text.out, MatchesRegex("hellaswag, 3 questions: [0-9.]+ % \\[[0-9.]+, [0-9.]+\\], "
                                     "95 % interval; standard error [0-9.]+ %\n"));
  const auto json =
      here({"eval", "model", "--task", "winogrande", "--data", winogrande, "--json"}).json();
  EXPECT_EQ(json["task"], "winogrande");
  EXPECT_EQ(json["n"], 3);
  EXPECT_EQ(json["accuracy"], json["correct"].get<double>() / 3);
  EXPECT_LE(json["interval_95"][0], json["accuracy"]);
  EXPECT_EQ(
      here({"eval", "model", "--task", "hellaswag", "--data", hellaswag, "--limit", "2", "--json"})
          .json()["n"],
      2);
  expect_failure(here({"eval", "model", "--task", "hellaswag", "--data", winogrande, "-q"}), 1,
                 {"winogrande.csv", "expected six"});
  Invocation run;
  run.args = {"eval", "model", "--task", "winogrande"};
  run.folder = folder_.path();
  run.env = {{"NIBBLE_DATA", folder_.path().string()}};
  expect_failure(run_command(run), 1, {"winogrande-debiased-eval.csv", "$NIBBLE_DATA"});
}

TEST_F(EvalTasks, ProtocolsOfOtherTools) {
  const std::string text = stories_text().string();
  const auto run = [&](std::vector<std::string> more) {
    std::vector<std::string> args = {"eval", "model", "--text", text, "-q"};
    args.insert(args.end(), more.begin(), more.end());
    return here(args);
  };
  const auto llamacpp =
      run({"--protocol", "llamacpp", "--seqlen", "64", "--n-segments", "3", "--json"}).json();
  EXPECT_EQ(llamacpp["protocol"], "llamacpp");
  EXPECT_EQ(llamacpp["model"], "model");
  EXPECT_GT(llamacpp["bits_per_weight"], 15.9);
  EXPECT_EQ(llamacpp["results"][0]["segments"], 3);
  EXPECT_EQ(llamacpp["results"][0]["seqlen"], 64);
  const auto word = run({"--protocol", "word", "--seqlen", "100", "--json"}).json();
  const auto& result = word["results"][0];
  EXPECT_EQ(result["segments"], 1);
  EXPECT_GT(result["words"], 3000);
  EXPECT_NEAR(std::log(result["perplexity"].get<double>()), result["nll"].get<double>(), 1e-9);
  EXPECT_NEAR(std::exp2(result["bits_per_byte"].get<double>()),
              result["byte_perplexity"].get<double>(), 1e-9);
  EXPECT_THAT(run({"--protocol", "word", "--seqlen", "100"}).out,
              HasSubstr("word perplexity, 100"));
  expect_failure(run({"--protocol", "word", "--rows"}), 2, {"--rows", "word"});
  expect_failure(run({"--protocol", "llamacpp", "--seqlen", "2"}), 1, {"2 tokens"});
}

TEST_F(EvalTasks, WrongUsageNamesTheTask) {
  expect_failure(mmlu({"--seqlen", "64"}), 2, {"--seqlen is of --task perplexity, not of mmlu"});
  expect_failure(here({"eval", "model", "--subjects", "all"}), 2,
                 {"--subjects is of --task mmlu, not of perplexity"});
  expect_failure(here({"eval", "model", "model", "--task", "mmlu"}), 2, {"one MODEL, found 2"});
  expect_failure(mmlu({"--limit", "-1"}), 2, {"--limit"});
  expect_failure(mmlu({"--style", "poll"}), 2, {"--style"});
  expect_failure(mmlu({"--subjects", "anatomi"}), 1, {"did you mean anatomy?"});
  expect_failure(mmlu(), 1, {"abstract_algebra_dev.csv"});  // the default subject
  Invocation run;
  run.args = {"eval", "model", "--task", "mmlu"};
  run.folder = folder_.path();
  run.env = {{"NIBBLE_DATA", ""}};
  expect_failure(run_command(run), 1, {"--data", "$NIBBLE_DATA"});
}

}  // namespace
}  // namespace nibble::testing
