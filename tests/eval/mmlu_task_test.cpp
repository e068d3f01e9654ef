// The file that keeps answers, and the document that a run gives.
#include "nibble/eval/mmlu_task.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error_matchers.h"
#include "core/temporary_folder.h"
#include "nibble/eval/mmlu_file.h"
#include "nibble/eval/mmlu_scores.h"
#include "paths.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using ::nibble::testing::read_file;
using ::nibble::testing::TemporaryFolder;
using ::nibble::testing::write_file;
using ::testing::AllOf;
using ::testing::HasSubstr;

MmluResult some_result() {
  return {
      .settings = {{"model", "m"}, {"fingerprint", "f0"}, {"style", "base"}, {"limit", 4}},
      .subjects =
          {{.name = "anatomy", .category = "stem", .key = "ABCD", .answers = "AB-D", .ties = {2}},
           {.name = "virology", .category = "other", .key = "AAAA", .answers = "AB.."}},
      .seconds = 2};
}

MmluResult unanswered() {
  MmluResult result = some_result();
  for (MmluAnswers& subject : result.subjects) {
    subject.answers = "....";
    subject.ties.clear();
  }
  result.seconds = 0;
  return result;
}

TEST(MmluScores, OfSubjectsAndMeans) {
  const std::vector<MmluAnswers> subjects = some_result().subjects;
  EXPECT_EQ(count_correct(subjects[0]), 3);
  EXPECT_EQ(count_unread(subjects[0]), 1);
  EXPECT_EQ(count_answered(subjects[1]), 2);
  const MmluScore first = subject_score(subjects[0]);
  EXPECT_DOUBLE_EQ(first.accuracy, 0.75);
  EXPECT_DOUBLE_EQ(first.error.value(), 0.25);  // sqrt(0.75 * 0.25 / 3)
  EXPECT_DOUBLE_EQ(subject_score(subjects[1]).error.value(), 0.5);
  const MmluMeans all = mmlu_means(subjects);
  EXPECT_EQ(all.subjects, 2);
  EXPECT_EQ(all.questions, 6);
  EXPECT_EQ(all.correct, 4);
  EXPECT_DOUBLE_EQ(all.micro.accuracy, 4.0 / 6);
  EXPECT_DOUBLE_EQ(all.micro.error.value(), std::sqrt(0.25 * 0.25 * 16 / 36 + 0.5 * 0.5 * 4 / 36));
  EXPECT_DOUBLE_EQ(all.macro.accuracy, (0.75 + 0.5) / 2);
  EXPECT_DOUBLE_EQ(all.macro.error.value(), std::sqrt(0.25 * 0.25 + 0.5 * 0.5) / 2);
  EXPECT_EQ(mmlu_means(subjects, "stem").correct, 3);
  EXPECT_EQ(mmlu_means(subjects, "humanities").subjects, 0);
  const MmluAnswers one{.name = "x", .category = "other", .key = "A", .answers = "A"};
  EXPECT_FALSE(subject_score(one).error.has_value());
  EXPECT_FALSE(mmlu_means({one, subjects[0]}).micro.error.has_value());
}

TEST(MmluFiles, GiveBackWhatTheyKeep) {
  const TemporaryFolder folder;
  MmluFile file(folder / "answers.json");
  MmluResult result = unanswered();
  file.load(result);  // there is none yet
  EXPECT_EQ(result.subjects[0].answers, "....");
  file.save(some_result());
  file.load(result);
  EXPECT_EQ(result.subjects[0].answers, "AB-D");
  EXPECT_EQ(result.subjects[0].ties, std::vector<std::int64_t>{2});
  EXPECT_EQ(result.subjects[1].answers, "AB..");
  EXPECT_EQ(result.seconds, 2);
  EXPECT_EQ(read_json_file(folder / "answers.json"), mmlu_json(some_result()));
  file.save_sometimes(unanswered());  // not so soon
  EXPECT_EQ(read_json_file(folder / "answers.json"), mmlu_json(some_result()));
}

TEST(MmluFiles, OfAnotherRunAreRefusedByName) {
  const TemporaryFolder folder;
  const fs::path path = folder / "answers.json";
  MmluFile file(path);
  file.save(some_result());
  const std::string before = read_file(path);
  const auto load = [&](const char* setting, const Json& value) {
    MmluResult other = unanswered();
    other.settings[setting] = value;
    file.load(other);
  };
  EXPECT_ERROR(load("style", "chat"), AllOf(HasSubstr(path.string()), HasSubstr("style \"base\""),
                                            HasSubstr("has \"chat\"")));
  EXPECT_ERROR(load("limit", 5), HasSubstr("limit 4, this run has 5"));
  EXPECT_ERROR(load("fingerprint", "f1"), HasSubstr("another model, \"m\""));
  EXPECT_ERROR(load("kv", "int8"), HasSubstr("kv null"));
  EXPECT_NO_THROW(load("model", "moved/m"));
  EXPECT_EQ(read_file(path), before);
}

TEST(MmluFiles, ThatAreNoResultsAreRefused) {
  const TemporaryFolder folder;
  const fs::path path = folder / "answers.json";
  MmluFile file(path);
  MmluResult result = unanswered();
  const auto refuse = [&](const std::string& text, const std::string& message) {
    write_file(path, text);
    EXPECT_ERROR(file.load(result), AllOf(HasSubstr(path.string()), HasSubstr(message)));
    EXPECT_EQ(read_file(path), text);
  };
  refuse("not JSON", "");
  refuse("[]", "object");
  refuse("{}", "no result of eval --task mmlu");
  refuse(R"({"task": "humaneval"})", "no result of eval --task mmlu");
  Json json = mmlu_json(some_result());
  json["subjects"][1]["answers"] = "AB.";
  refuse(json.dump(), "answers of virology expected");
  json["subjects"][1]["answers"] = "ABCE";
  refuse(json.dump(), "answers of virology expected");
  json["subjects"].erase(1);
  refuse(json.dump(), "expected a list of 2");
  EXPECT_ERROR(MmluFile(folder.path()), HasSubstr("folder"));
  EXPECT_ERROR(MmluFile(folder / "none/answers.json"), HasSubstr("none/answers.json"));
}

TEST(MmluTasks, AreResumedFromTheirFile) {
  const TemporaryFolder folder;
  ThreadPool pool;
  Model model(testing::data_file("stories260K"), pool);
  MmluTask task{.model_name = "stories",
                .folder = testing::test_file("eval/fixtures/mmlu"),
                .subjects = {"household"},
                .context = 1200,
                .file = folder / "answers.json"};
  const MmluResult first = evaluate_mmlu(model, task);
  EXPECT_EQ(first.settings["style"], "base");
  EXPECT_EQ(first.settings["activations"], "bf16");
  EXPECT_EQ(first.subjects[0].answers.find(kNotAsked), std::string::npos);
  Json half = read_json_file(task.file);
  half["subjects"][0]["answers"].get_ref<std::string&>()[2] = kNotAsked;
  write_file(task.file, half.dump());
  EXPECT_EQ(evaluate_mmlu(model, task).subjects[0].answers, first.subjects[0].answers);
  task.limit = 2;
  EXPECT_ERROR(evaluate_mmlu(model, task), HasSubstr("limit 30, this run has 2"));
  task.limit = 30;
  task.style = MmluStyle::kChat;
  EXPECT_ERROR(evaluate_mmlu(model, task), HasSubstr("chat template"));
}

}  // namespace
}  // namespace nibble
