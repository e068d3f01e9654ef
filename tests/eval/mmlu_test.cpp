// MMLU on the small model, which knows nothing of it: what is asked, not what is right.
#include "nibble/eval/mmlu.h"

#include <algorithm>

#include "core/error_matchers.h"
#include "core/temporary_folder.h"
#include "eval/fixtures.h"
#include "nibble/core/interrupt.h"
#include "nibble/eval/mmlu_prompt.h"
#include "nibble/eval/mmlu_task.h"
#include "nibble/runtime/generate.h"
#include "paths.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

class Mmlu : public ::testing::Test {
 protected:
  static constexpr std::int64_t kContext = 1200;  // of spelt-out words; the model's own is 512

  MmluRun make_run(const MmluOptions& options) {
    return MmluRun(model_, tokenizer_, subjects_, options);
  }
  std::vector<MmluAnswers> answers(const MmluOptions& options) {
    MmluRun run = make_run(options);
    std::vector<MmluAnswers> all = run.unanswered();
    run.run(all, [](const MmluStep&) {});
    return all;
  }
  /// The letter by the definition: one prompt, one pass.
  char letter_of(const MmluQuestion& question, std::size_t shots) {
    const std::vector<std::int32_t> prompt =
        tokenizer_.encode(mmlu_shots_text(subjects_[0], shots) + mmlu_question_text(question));
    KvCache cache = model_.make_cache(kContext);
    std::vector<float> logits(static_cast<std::size_t>(model_.spec().vocab));
    model_.forward_last(prompt, cache, logits.data());
    char best = 'A';
    float largest = -1e30f;
    for (const char letter : {'A', 'B', 'C', 'D'}) {
      const auto id = tokenizer_.encode(std::string("Answer: ") + letter).back();
      const float logit = logits[static_cast<std::size_t>(id)];
      if (logit > largest) best = letter;
      largest = std::max(largest, logit);
    }
    return best;
  }

  ThreadPool pool_;
  Model model_{kStories, pool_, kF32};
  Tokenizer tokenizer_ = load_tokenizer(kStories);
  std::vector<MmluSubject> subjects_ = {
      load_mmlu_subject(testing::test_file("eval/fixtures/mmlu"), "household", 0)};
};

TEST_F(Mmlu, LettersAreThoseOfEachPromptByItself) {
  const std::vector<MmluAnswers> all = answers({.context = kContext});
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].key, "BBCD");
  ASSERT_EQ(all[0].answers.size(), 4u);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(all[0].answers[i], letter_of(subjects_[0].questions[i], 5)) << i;
  }
  EXPECT_EQ(all[0].fewer_shots, 0);
  EXPECT_EQ(answers({.context = kContext, .one_by_one = true})[0].answers, all[0].answers);
}

TEST_F(Mmlu, FewerShotsWhereTheContextIsShort) {
  const MmluSubject& subject = subjects_[0];
  std::vector<std::size_t> lengths;  // of the first question with 0, 1 ... shots
  for (std::size_t n = 0; n <= 5; ++n) {
    lengths.push_back(
        tokenizer_.encode(mmlu_shots_text(subject, n) + mmlu_question_text(subject.questions[0]))
            .size());
  }
  subjects_[0].questions.resize(1);
  const std::vector<MmluAnswers> three =
      answers({.context = static_cast<std::int64_t>(lengths[4]) - 1});
  EXPECT_EQ(three[0].fewer_shots, 1);
  EXPECT_EQ(three[0].answers[0], letter_of(subject.questions[0], 3));
  EXPECT_EQ(answers({.context = static_cast<std::int64_t>(lengths[0])})[0].answers[0],
            letter_of(subject.questions[0], 0));
  EXPECT_ERROR(make_run({.context = static_cast<std::int64_t>(lengths[0]) - 1}),
               AllOf(HasSubstr("household, question 1"), HasSubstr("-c/--context")));
}

TEST_F(Mmlu, GoesOnFromWhatWasAnswered) {
  MmluRun run = make_run({.context = kContext});
  std::vector<MmluAnswers> all = run.unanswered();
  EXPECT_EQ(all[0].answers, "....");
  const double whole = run.work(all);
  all[0].answers = "A..-";
  std::int64_t asked = 0;
  double work = 0;
  const double left = run.work(all);
  EXPECT_LT(left, whole);
  run.run(all, [&](const MmluStep& step) {
    asked += step.questions;
    work += step.work;
  });
  EXPECT_EQ(asked, 2);
  EXPECT_DOUBLE_EQ(work, left);
  EXPECT_EQ(run.work(all), 0);
  EXPECT_EQ(all[0].answers[0], 'A');
  EXPECT_EQ(all[0].answers[1], letter_of(subjects_[0].questions[1], 5));
  EXPECT_EQ(all[0].answers[3], kNoLetter);
}

TEST_F(Mmlu, AsksAChatModelThroughItsTemplate) {
  const testing::TemporaryFolder folder;
  testing::write_file(folder / "chat.jinja",
                      "{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}bot:");
  const ChatFormat format = ChatFormat::from_file(folder / "chat.jinja");
  const std::vector<MmluAnswers> all = answers({.chat = &format, .context = kContext});
  EXPECT_EQ(answers({.chat = &format, .context = kContext, .one_by_one = true})[0].answers,
            all[0].answers);
  for (std::size_t i = 0; i < 4; ++i) {
    const MmluQuestion& question = subjects_[0].questions[i];
    const std::vector<std::int32_t> prompt =
        tokenizer_.encode("user: " + mmlu_chat_message(question) + "bot:", {.add_special = false});
    KvCache cache = model_.make_cache(kContext);
    Sequence sequence(tokenizer_, model_.spec(), prompt, kContext,
                      {.max_tokens = 50, .end_ids = tokenizer_.end_ids()});
    const Generation reply = generate(model_, cache, sequence, [](std::string_view) {});
    EXPECT_EQ(all[0].answers[i], read_mmlu_letter(reply.text, question).value_or(kNoLetter)) << i;
  }
}

TEST_F(Mmlu, AnInterruptLeavesWhatWasAnswered) {
  subjects_[0].questions.resize(2);
  MmluRun run = make_run({.context = kContext, .one_by_one = true});
  std::vector<MmluAnswers> all = run.unanswered();
  const auto on_step = [&](const MmluStep& step) {
    if (step.questions > 0) request_interrupt();
  };
  EXPECT_THROW(run.run(all, on_step), Interrupted);
  clear_interrupt();
  EXPECT_EQ(all[0].answers[1], kNotAsked);
  EXPECT_EQ(all[0].answers[0], letter_of(subjects_[0].questions[0], 5));
}

TEST(MmluStyles, GoByTheModelsName) {
  EXPECT_EQ(mmlu_style_for("Qwen1.5-7B"), MmluStyle::kBase);
  EXPECT_EQ(mmlu_style_for("Qwen/Qwen1.5-7B-Chat"), MmluStyle::kChat);
  EXPECT_EQ(mmlu_style_for("models/llama-2-7b-chat-hf/"), MmluStyle::kChat);
  EXPECT_EQ(mmlu_style_for("chats/Llama-2-7b"), MmluStyle::kBase);
  EXPECT_EQ(mmlu_style_for("SmolLM2-135M-Instruct.gguf"), MmluStyle::kBase);
  EXPECT_EQ(mmlu_style_for("/"), MmluStyle::kBase);
}

// Letters that were computed with torch from the definition, in float32 on weights rounded to
// bfloat16; where two logits are close bfloat16 activations may choose otherwise.
TEST(MmluSlow, LettersOfARealModelAreTheReferences) {
  const char* shared = std::getenv("NIBBLE_SHARED");
  if (shared == nullptr) GTEST_SKIP() << "NIBBLE_SHARED names no folder of larger test files";
  const Json expected =
      read_json_file(fs::path(shared) / "goldens/smollm2.json")["mmlu_bf16"]["mmlu"];
  ThreadPool pool;
  Model model(fs::path(shared) / "models/SmolLM2-135M-Instruct.Q4_1.gguf", pool);
  const MmluResult result = evaluate_mmlu(
      model, {.folder = fs::path(shared) / "data/mmlu", .subjects = {"abstract_algebra"}});
  EXPECT_EQ(result.subjects[0].answers, expected["predicted"].get<std::string>());
}

}  // namespace
}  // namespace nibble
