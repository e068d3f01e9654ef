// The tasks of eval beside perplexity, as a user runs them, with the small model.
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
      fs::copy_file(fs::path(data_) / part / (std::string("household_") + part + ".csv"),
                    folder_ / "mmlu" / part / (name + "_" + part + ".csv"));
    }
  }
  Invocation run;
  run.args = {"eval", "model", "--task", "mmlu", "--subjects", "all", "--limit", "1", "-c", "1200"};
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
