#include "nibble/eval/protocols.h"

#include <gmock/gmock.h>

#include <numeric>

#include "core/error_matchers.h"
#include "nibble/models/checkpoint.h"
#include "paths.h"

namespace nibble {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Ids = std::vector<std::int32_t>;

Ids numbers(std::int32_t count) {
  Ids ids(static_cast<std::size_t>(count));
  std::iota(ids.begin(), ids.end(), 100);
  return ids;
}

class Protocols : public ::testing::Test {
 protected:
  /// With BOS, 1, in front of texts.
  Tokenizer tokenizer_ = load_tokenizer(testing::data_file("stories260K"));
};

TEST_F(Protocols, Segments) {
  const std::vector<ScoredWindow> windows = segment_windows(numbers(11), 4, 0);
  ASSERT_EQ(windows.size(), 2u);
  EXPECT_THAT(windows[1].tokens, ElementsAre(104, 105, 106, 107));
  EXPECT_EQ(windows[1].first, 1);
  EXPECT_EQ(windows[1].units, 3);
  EXPECT_EQ(segment_windows(numbers(12), 4, 0).size(), 3u);
  EXPECT_EQ(segment_windows(numbers(12), 4, 2).size(), 2u);
  EXPECT_EQ(segment_windows(numbers(12), 4, 9).size(), 3u);
  EXPECT_ERROR(segment_windows(numbers(3), 4, 0), AllOf(HasSubstr("3 tokens"), HasSubstr("4")));
  EXPECT_ERROR(segment_windows(numbers(3), 1, 0), HasSubstr("found 1"));
}

TEST_F(Protocols, LlamaCppScoresTheSecondHalfBehindBos) {
  std::vector<ScoredWindow> windows = llamacpp_windows(numbers(17), tokenizer_, 8, 0);
  ASSERT_EQ(windows.size(), 2u);
  EXPECT_THAT(windows[1].tokens, ElementsAre(1, 109, 110, 111, 112, 113, 114, 115));
  EXPECT_EQ(windows[1].first, 5);
  EXPECT_EQ(windows[1].units, 3);
  windows = llamacpp_windows(numbers(7), tokenizer_, 7, 0);
  EXPECT_EQ(windows[0].first, 4);
  EXPECT_EQ(windows[0].units, 3);
  // Without BOS in front of texts the token stays.
  const Tokenizer plain = load_tokenizer(testing::test_file("tokenizer/fixtures/smollm"));
  EXPECT_EQ(llamacpp_windows(numbers(8), plain, 8, 0)[0].tokens[0], 100);
  EXPECT_ERROR(llamacpp_windows(numbers(8), tokenizer_, 2, 0), HasSubstr("2 tokens"));
}

// Made by hand from lm-evaluation-harness's get_rolling_token_windows and make_disjoint_window.
TEST_F(Protocols, WordWindowsRoll) {
  const std::string text = "Once upon a time there was a big";
  const Ids ids = tokenizer_.encode(text, {.add_special = false});
  ASSERT_EQ(ids.size(), 8u);
  const auto tokens = [&](std::int64_t length, std::size_t i) {
    return word_windows(text, tokenizer_, length, 0).windows.at(i);
  };
  ScoredWindow window = tokens(10, 0);
  EXPECT_THAT(window.tokens,
              ElementsAre(1, ids[0], ids[1], ids[2], ids[3], ids[4], ids[5], ids[6], ids[7]));
  EXPECT_EQ(window.first, 1);
  EXPECT_EQ(window.units, 8);
  window = tokens(3, 0);
  EXPECT_THAT(window.tokens, ElementsAre(1, ids[0], ids[1], ids[2]));
  EXPECT_EQ(window.units, 0);
  window = tokens(3, 1);
  EXPECT_THAT(window.tokens, ElementsAre(ids[2], ids[3], ids[4], ids[5]));
  EXPECT_EQ(window.first, 1);
  window = tokens(3, 2);  // two are left: one more is seen
  EXPECT_THAT(window.tokens, ElementsAre(ids[4], ids[5], ids[6], ids[7]));
  EXPECT_EQ(window.first, 2);
  EXPECT_EQ(window.units, 8);
}

TEST_F(Protocols, WordCountsDocuments) {
  const std::string text = " \n = One = \n \n Once upon a time . \n = Two = \n \n The dog . \n";
  const WordWindows all = word_windows(text, tokenizer_, 512, 0);
  EXPECT_EQ(all.documents, 2);
  ASSERT_EQ(all.windows.size(), 2u);
  EXPECT_EQ(all.windows[0].units + all.windows[1].units, all.words);
  EXPECT_EQ(all.bytes, static_cast<std::int64_t>(text.size()) - 2 - 1);  // " \n", and a newline
  const WordWindows one = word_windows(text, tokenizer_, 512, 1);
  EXPECT_EQ(one.documents, 1);
  EXPECT_EQ(one.words, all.windows[0].units);
}

TEST(WikiText, DocumentsBeginWithATitle) {
  EXPECT_THAT(wikitext_documents(" \n = One = \n text \n = = Part = = \n more \n = Two = \nx"),
              ElementsAre(" = One = \n text \n = = Part = = \n more ", " = Two = \nx"));
  EXPECT_THAT(wikitext_documents("no title\n"), ElementsAre("no title\n"));
  EXPECT_THAT(wikitext_documents("= = = A = = =\n= B =\n"),
              ElementsAre("= = = A = = =", "= B =\n"));
}

// What lm-evaluation-harness's wikitext_detokenizer gives.
TEST(WikiText, DocumentsAsProse) {
  const auto text = [](const char* document) { return wikitext_document_text(document); };
  EXPECT_EQ(text("a , b . c : d ; e ! f ? g"), "a, b. c: d; e! f? g");
  EXPECT_EQ(text("1 @,@ 000 @.@ 5 well @-@ known"), "1,000.5 well-known");
  EXPECT_EQ(text("the dogs ' house , Tom 's"), "the dogs'house, Tom's");
  EXPECT_EQ(text("( one ) [ two ] { three } \" four \" ' five '"),
            "(one) [two] {three} \"four\" 'five'");
  EXPECT_EQ(text("( \u00a0 x\n) ("), "(x) (");
  EXPECT_EQ(text(" = = Part = = \n a \n 20 \u00b0 C N 1"), " == Part ==\na\n20\u00b0C 1 1");
}

TEST(WikiText, WordsAsPythonSplitsThem) {
  EXPECT_EQ(count_words(""), 1);
  EXPECT_EQ(count_words("a b"), 2);
  EXPECT_EQ(count_words(" a \n b "), 4);
  EXPECT_EQ(count_words("a\u2003\u00a0b\u00e9"), 2);
}

}  // namespace
}  // namespace nibble
