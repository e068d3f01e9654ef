#include "nibble/eval/choices.h"

#include <cmath>
#include <numeric>

#include "core/error_matchers.h"
#include "core/temporary_folder.h"
#include "eval/fixtures.h"
#include "nibble/eval/hellaswag.h"
#include "nibble/eval/protocols.h"
#include "nibble/eval/winogrande.h"
#include "paths.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using ::nibble::testing::TemporaryFolder;
using ::nibble::testing::write_file;
using ::testing::AllOf;
using ::testing::HasSubstr;
using Ids = std::vector<std::int32_t>;

const fs::path kHellaSwag = testing::test_file("eval/fixtures/hellaswag.txt");
const fs::path kWinoGrande = testing::test_file("eval/fixtures/winogrande.csv");

TEST(HellaSwag, ReadsItems) {
  const std::vector<HellaSwagItem> items = load_hellaswag(kHellaSwag);
  ASSERT_EQ(items.size(), 3u);
  EXPECT_EQ(items[1].context, "Reading: A boy opens a book. He");
  EXPECT_EQ(items[1].right, 0u);
  EXPECT_EQ(items[1].endings[3], "is a small book about boys.");
  EXPECT_EQ(items[2].right, 3u);
}

TEST(HellaSwag, BadFilesAreErrors) {
  const TemporaryFolder folder;
  const fs::path file = folder / "bad.txt";
  const auto refuse = [&](const std::string& text, const std::string& what) {
    write_file(file, text);
    EXPECT_ERROR(load_hellaswag(file), AllOf(HasSubstr(file.string()), HasSubstr(what)));
  };
  refuse("", "0 lines, expected six");
  refuse("a\n0\nb\nc\nd\n", "5 lines");
  refuse("a\n0\nb\nc\nd\ne\na\n4\nb\nc\nd\ne\n",
         ":8: the right ending: expected 0, 1, 2 or 3, "
         "found \"4\"");
  refuse("a\nb\n0\nc\nd\ne\n", ":2:");
  write_file(file, "a\r\n2\r\nb\r\nc\r\nd\r\ne");
  EXPECT_EQ(load_hellaswag(file)[0].endings[3], "e");
}

// What llama.cpp's tool draws first of five: std::mt19937(1) and GNU's uniform_int_distribution.
TEST(HellaSwag, DrawsEachItemOnce) {
  std::vector<HellaSwagItem> items(5);
  for (std::size_t i = 0; i < 5; ++i) items[i].context = std::to_string(i);
  const auto order = [&](std::int64_t count) {
    std::string text;
    for (const HellaSwagItem& item : draw_hellaswag(items, count)) text += item.context;
    return text;
  };
  const std::string all = order(0);
  std::string sorted = all;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(sorted, "01234");
  EXPECT_NE(all, sorted);
  EXPECT_EQ(order(2), all.substr(0, 2));
  EXPECT_EQ(order(9), all);
}

TEST(WinoGrande, ReadsItems) {
  const std::vector<WinoGrandeItem> items = load_winogrande(kWinoGrande);
  ASSERT_EQ(items.size(), 3u);
  EXPECT_EQ(items[0].before, "The cup fell from the shelf, so ");
  EXPECT_EQ(items[0].after, " broke.");
  EXPECT_EQ(items[1].words, (std::vector<std::string>{"Tom", "Lily"}));
  EXPECT_EQ(items[1].right, 1u);
  EXPECT_EQ(items[2].before.substr(0, 16), "The bag, \"light\"");
  EXPECT_EQ(draw_winogrande(items, 0).size(), 3u);
  EXPECT_EQ(draw_winogrande(items, 7)[2].after, " was much too wide for it.");
  const std::vector<WinoGrandeItem> two = draw_winogrande(items, 2);
  ASSERT_EQ(two.size(), 2u);
  EXPECT_NE(two[0].before, two[1].before);
}

TEST(WinoGrande, BadFilesAreErrors) {
  const TemporaryFolder folder;
  const fs::path file = folder / "bad.csv";
  const auto refuse = [&](const std::string& text, const std::string& what) {
    write_file(file, text);
    EXPECT_ERROR(load_winogrande(file), AllOf(HasSubstr(file.string()), HasSubstr(what)));
  };
  const std::string good = "0,a _ b,x,y,1\n";
  refuse("", "no questions");
  refuse(good + "1,a _, b,x,y,1\n", ":2: expected 5 columns");
  refuse(good + "1,a b,x,y,1\n", ":2: the sentence has no _");
  refuse(good + "1,a _ b,x,y,3\n", ":2: the right word: expected 1 or 2, found \"3\"");
}

class Choices : public ::testing::Test {
 protected:
  /// The mean of ln p over the tokens that count, from one pass over the whole text.
  double score(const ChoiceText& text) {
    const Ids tokens(text.tokens.begin(), text.tokens.begin() + text.end);
    const ScoredWindow window{tokens, text.first, text.end - text.first};
    return -measure_perplexity(model_, {&window, 1}, nullptr, [](const PerplexityResult&) {}).nll;
  }
  std::size_t best(const ChoiceQuestion& question) {
    std::size_t found = 0;
    for (std::size_t i = 1; i < question.texts.size(); ++i) {
      if (score(question.texts[i]) > score(question.texts[found])) found = i;
    }
    return found;
  }
  /// How many of `questions` are answered as by score().
  void expect_answers(std::vector<ChoiceQuestion> questions) {
    for (ChoiceQuestion& question : questions) question.right = best(question);
    std::int64_t calls = 0;
    const ChoiceResult result = answer_choices(
        model_, questions, 512, [&](const ChoiceResult& r) { EXPECT_EQ(r.questions, ++calls); });
    EXPECT_EQ(result.questions, std::ssize(questions));
    EXPECT_EQ(result.correct, std::ssize(questions));
    for (ChoiceQuestion& question : questions) ++question.right;  // past the best, perhaps the end
    EXPECT_EQ(answer_choices(model_, questions, 512, [](const ChoiceResult&) {}).correct, 0);
  }

  ThreadPool pool_;
  Model model_{testing::data_file("stories260K"), pool_, kF32};
  Tokenizer tokenizer_ = model_.checkpoint().load_tokenizer();
};

TEST_F(Choices, HellaSwagCountsWholeEndings) {
  std::vector<ChoiceQuestion> questions;
  for (const HellaSwagItem& item : load_hellaswag(kHellaSwag)) {
    questions.push_back(hellaswag_question(tokenizer_, item));
    const ChoiceQuestion& question = questions.back();
    EXPECT_EQ(question.right, item.right);
    const Ids context = tokenizer_.encode(item.context);
    for (const ChoiceText& text : question.texts) {
      EXPECT_GE(text.first, std::ssize(context));
      EXPECT_EQ(text.end, std::ssize(text.tokens));
    }
  }
  expect_answers(questions);
}

TEST_F(Choices, WinoGrandeCountsWhatFollowsTheWord) {
  std::vector<ChoiceQuestion> questions;
  const std::vector<WinoGrandeItem> items = load_winogrande(kWinoGrande);
  for (const WinoGrandeItem& item : items) {
    questions.push_back(winogrande_question(tokenizer_, item));
    for (std::size_t i = 0; i < 2; ++i) {
      const ChoiceText& text = questions.back().texts[i];
      EXPECT_EQ(text.tokens, tokenizer_.encode(item.before + item.words[i] + item.after));
      EXPECT_EQ(text.first, std::ssize(tokenizer_.encode(item.before + item.words[i])));
      EXPECT_EQ(text.end, std::max(std::ssize(text.tokens) - 1, text.first + 1));
    }
  }
  expect_answers(questions);
}

TEST_F(Choices, WinoGrandeCountsTheWordWhereLittleDiffers) {
  const WinoGrandeItem item{"The bag did not fit the box: too big was ", ".", {"he", "she"}, 0};
  const ChoiceQuestion question = winogrande_question(tokenizer_, item);
  const std::int64_t common = common_tokens(question.texts);
  ASSERT_LE(std::ssize(question.texts[0].tokens) - common, 3);
  EXPECT_EQ(question.texts[0].first, common);
  EXPECT_EQ(question.texts[1].first, common);
  EXPECT_EQ(question.texts[0].end, std::ssize(question.texts[0].tokens) - 1);
  expect_answers({question});
}

TEST_F(Choices, OddTexts) {
  // Nothing in common, one text the beginning of the other, all but the last token in common.
  expect_answers({{.texts = {{{5, 6, 7}, 1, 3}, {{8, 9}, 1, 2}}},
                  {.texts = {{{1, 5, 6}, 2, 3}, {{1, 5, 6, 7, 8}, 2, 5}}},
                  {.texts = {{{1, 5, 6}, 2, 3}, {{1, 5, 7}, 2, 3}, {{1, 5, 8}, 1, 3}}}});
  EXPECT_EQ(common_tokens({{{1, 2}, 1, 2}, {{1, 2}, 1, 2}}), 1);
  EXPECT_EQ(common_tokens({{{1}, 0, 0}, {{1, 2}, 1, 2}}), 0);
  const auto answer = [&](const ChoiceText& text) {
    answer_choices(model_, {{.texts = {text, text}}}, 10, [](const ChoiceResult&) {});
  };
  EXPECT_ERROR(answer({{1}, 0, 1}), AllOf(HasSubstr("question 1"), HasSubstr("1 tokens")));
  EXPECT_ERROR(answer({Ids(11, 5), 1, 11}), AllOf(HasSubstr("11 tokens"), HasSubstr("has 10")));
}

TEST(ChoiceResults, IntervalAndError) {
  const ChoiceResult result{.questions = 100, .correct = 75};
  EXPECT_DOUBLE_EQ(result.accuracy(), 0.75);
  EXPECT_DOUBLE_EQ(result.standard_error(), std::sqrt(0.75 * 0.25 / 99));
  // statsmodels' proportion_confint(75, 100, method="wilson")
  const Interval interval = wilson_interval(result);
  EXPECT_NEAR(interval.low, 0.6569554, 1e-6);
  EXPECT_NEAR(interval.high, 0.8245479, 1e-6);
}

}  // namespace
}  // namespace nibble
