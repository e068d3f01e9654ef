#include "nibble/quant/calibration/text.h"

#include "core/error_matchers.h"
#include "core/temporary_folder.h"
#include "nibble/models/checkpoint.h"
#include "paths.h"

namespace nibble {
namespace {

using ::nibble::testing::TemporaryFolder;
using ::nibble::testing::write_file;
using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(CalibrationTexts, AreFilesWithAShareOrWithout) {
  EXPECT_EQ(parse_calibration_text("a.txt").share, 1);
  EXPECT_EQ(parse_calibration_text("a.txt:2.5").file, "a.txt");
  EXPECT_EQ(parse_calibration_text("a.txt:2.5").share, 2.5);
  EXPECT_EQ(parse_calibration_text("a:b.txt").file, "a:b.txt");
  EXPECT_ERROR(parse_calibration_text("a.txt:0"), HasSubstr("--calib a.txt:0"));
  EXPECT_ERROR(parse_calibration_text("a.txt:-1"), HasSubstr("above 0"));
}

class CalibrationBlocks : public ::testing::Test {
 protected:
  /// Writes a text of so many words, each a token or more.
  std::string text(const std::string& name, const std::string& word, int words) {
    std::string content;
    for (int i = 0; i < words; ++i) content += word + " ";
    write_file(folder_ / name, content);
    return (folder_ / name).string();
  }
  std::vector<std::vector<std::int32_t>> blocks(const CalibrationOptions& options) {
    return calibration_blocks(tokenizer_, options);
  }

  TemporaryFolder folder_;
  Tokenizer tokenizer_ = load_tokenizer(testing::data_file("stories260K"));
};

TEST_F(CalibrationBlocks, AreTheTextsOwnFromItsStart) {
  const std::string file = text("a", "once upon a time there was a little girl", 100);
  const auto found = blocks({.texts = {{file}}, .n_samples = 3, .seq_len = 16});
  std::string content;
  for (int i = 0; i < 100; ++i) content += "once upon a time there was a little girl ";
  const std::vector<std::int32_t> ids = tokenizer_.encode(content);
  ASSERT_EQ(found.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    const auto first = ids.begin() + static_cast<std::ptrdiff_t>(16 * i);
    EXPECT_EQ(found[i], std::vector<std::int32_t>(first, first + 16));
  }
}

TEST_F(CalibrationBlocks, ComeInTurnByTheirShares) {
  const std::string a = text("a", "the cat", 200);
  const std::string b = text("b", "a dog and", 200);
  const std::string c = text("c", "big red", 200);
  const auto of = [&](const std::string& file) {
    return blocks({.texts = {{file}}, .n_samples = 4, .seq_len = 8});
  };
  const auto mixed = blocks({.texts = {{a, 2}, {b, 1}, {c, 1}}, .n_samples = 8, .seq_len = 8});
  ASSERT_EQ(mixed.size(), 8u);
  const std::vector<std::vector<std::int32_t>> expected = {of(a)[0], of(b)[0], of(c)[0], of(a)[1],
                                                           of(a)[2], of(b)[1], of(c)[1], of(a)[3]};
  EXPECT_EQ(mixed, expected);
}

TEST_F(CalibrationBlocks, AreDrawnByTheSeedWithoutRepetition) {
  std::string content;
  for (int i = 0; i < 400; ++i) content += std::to_string(i) + " ";
  write_file(folder_ / "n", content);
  CalibrationOptions options{.texts = {{folder_ / "n"}}, .n_samples = 10, .seq_len = 8, .seed = 5};
  const auto first = blocks(options);
  EXPECT_EQ(blocks(options), first);
  for (std::size_t i = 0; i < first.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) EXPECT_NE(first[i], first[j]);
  }
  options.seed = 6;
  EXPECT_NE(blocks(options), first);
}

TEST_F(CalibrationBlocks, OfJsonLinesAreOfOneDocumentBehindTheOther) {
  write_file(folder_ / "d.jsonl",
             "{\"text\": \"the cat sat\", \"id\": 1}\n\n{\"messages\": [{\"role\": \"user\", "
             "\"content\": \"big\"}]}\r\n{\"text\": \"a dog\"}");
  const auto render = [](const jinja::Value& messages, const std::string&) {
    return "<s>" + messages.items()[0].as_dict().find("content")->as_text() + "</s>";
  };
  std::vector<std::int32_t> expected = tokenizer_.encode("the cat sat");
  for (const auto& ids :
       {tokenizer_.encode("<s>big</s>", {.add_special = false}), tokenizer_.encode("a dog")}) {
    expected.insert(expected.end(), ids.begin(), ids.end());
  }
  const auto found = blocks({.texts = {{folder_ / "d.jsonl"}},
                             .n_samples = std::ssize(expected) / 2,
                             .seq_len = 2,
                             .render = render});
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i], (std::vector<std::int32_t>{expected[2 * i], expected[2 * i + 1]}));
  }
}

TEST_F(CalibrationBlocks, OfConversationsWithoutATemplateAreOfTheirContents) {
  write_file(folder_ / "d.jsonl",
             R"({"messages": [{"role": "user", "content": "big"}, {"content": "red"}]})");
  const std::vector<std::int32_t> expected = tokenizer_.encode("big\n\nred\n\n");
  const auto found =
      blocks({.texts = {{folder_ / "d.jsonl"}}, .n_samples = 1, .seq_len = std::ssize(expected)});
  EXPECT_EQ(found.at(0), expected);
}

TEST_F(CalibrationBlocks, OfLinesThatAreNoDocumentsAreRefused) {
  const auto refused = [&](const std::string& line, const std::string& message) {
    write_file(folder_ / "d.jsonl", "{\"text\": \"a\"}\n" + line);
    EXPECT_ERROR(blocks({.texts = {{folder_ / "d.jsonl"}}, .n_samples = 99}),
                 AllOf(HasSubstr("d.jsonl: line 2"), HasSubstr(message)));
  };
  refused("{\"text\": ", "");
  refused("[1]", "expected an object with \"text\" or \"messages\", found list");
  refused("{\"prompt\": \"a\"}", "found neither");
  refused("{\"text\": 7}", "\"text\": expected a string, found int");
  refused("{\"messages\": []}", "an empty one");
  refused("{\"messages\": \"hi\"}", "expected a list of messages, found str");
  refused("{\"messages\": [{\"role\": \"user\"}]}", "expected an object with \"content\"");
}

TEST_F(CalibrationBlocks, OfTheTextThatComesWithNibbleAreEnoughByDefault) {
  const auto found = blocks({.texts = own_calibration_texts()});
  ASSERT_EQ(found.size(), 128u);
  EXPECT_THAT(tokenizer_.decode(found[1]), HasSubstr("sky blue"));  // the first conversation
}

TEST_F(CalibrationBlocks, OfTextsThatAreTooShortAreRefused) {
  const std::string file = text("short", "cat", 5);
  EXPECT_ERROR(blocks({.texts = {{file}}, .n_samples = 100, .seq_len = 16}),
               AllOf(HasSubstr("short: "), HasSubstr("takes 100")));
  write_file(folder_ / "empty", "");
  EXPECT_ERROR(blocks({.texts = {{folder_ / "empty"}}}), HasSubstr("0 blocks of 512"));
  EXPECT_ERROR(blocks({.texts = {{folder_ / "missing"}}}), HasSubstr("missing"));
}

}  // namespace
}  // namespace nibble
