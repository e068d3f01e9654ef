// Ids and texts of every fixture are those of the libraries the tokenizers come from.

#include <gtest/gtest.h>

#include <thread>

#include "core/temporary_folder.h"
#include "nibble/core/utf8.h"
#include "tokenizer/fixtures.h"

namespace nibble {
namespace {

using Ids = std::vector<std::int32_t>;

class Fixture : public ::testing::TestWithParam<std::string> {
 protected:
  Fixture()
      : folder_(testing::fixture_folder() / GetParam()),
        tokenizer_(Tokenizer::load(folder_)),
        cases_(read_json_file(folder_ / "cases.json")) {}

  static void expect_cases(const Tokenizer& tokenizer, const Json& cases) {
    ASSERT_GT(cases.size(), 70u);
    for (const Json& entry : cases) {
      const std::string text = testing::case_text(entry);
      SCOPED_TRACE(::testing::PrintToString(text));
      EXPECT_EQ(tokenizer.encode(text), entry["ids"].get<Ids>());
      EXPECT_EQ(tokenizer.encode(text, {.add_special = false, .parse_special = false}),
                entry["plain"].get<Ids>());
    }
  }

  std::filesystem::path folder_;
  Tokenizer tokenizer_;
  Json cases_;
};

TEST_P(Fixture, EncodesLikeTheReference) {
  expect_cases(tokenizer_, cases_);
}

TEST_P(Fixture, DecodesLikeTheReference) {
  for (const Json& entry : cases_) {
    const std::string text = replace_invalid_utf8(testing::case_text(entry));
    SCOPED_TRACE(::testing::PrintToString(text));
    const auto expected = [&](const char* key) { return entry.value(key, text); };
    if (GetParam().starts_with("sp-")) {
      const Ids plain = entry["plain"];
      const std::int32_t unk = tokenizer_.token_to_id("<unk>").value();
      // SentencePiece writes unknown pieces otherwise, on purpose.
      if (std::find(plain.begin(), plain.end(), unk) != plain.end()) continue;
      EXPECT_EQ(tokenizer_.decode(plain), expected("plain_decoded"));
    } else {
      const Ids ids = entry["ids"];
      EXPECT_EQ(tokenizer_.decode(ids), expected("decoded"));
      EXPECT_EQ(tokenizer_.decode(ids, true), expected("skipped"));
    }
  }
}

TEST_P(Fixture, StreamGivesWholeCharactersOnly) {
  for (const Json& entry : cases_) {
    const Ids ids = entry["ids"];
    StreamDecoder stream(tokenizer_);
    std::string text;
    for (const std::int32_t id : ids) {
      const std::string part = stream.push(id);
      ASSERT_TRUE(is_valid_utf8(part));
      text += part;
    }
    EXPECT_EQ(text + stream.finish(), tokenizer_.decode(ids));
  }
}

TEST_P(Fixture, SavedTokenizerIsTheSame) {
  const testing::TemporaryFolder folder;
  tokenizer_.save(folder.path());
  const Tokenizer again = Tokenizer::load(folder.path());
  EXPECT_EQ(again.vocab_size(), tokenizer_.vocab_size());
  EXPECT_EQ(again.bos_id(), tokenizer_.bos_id());
  EXPECT_EQ(again.eos_id(), tokenizer_.eos_id());
  for (std::int32_t id = 0; id < tokenizer_.vocab_size(); ++id) {
    ASSERT_EQ(again.id_to_token(id), tokenizer_.id_to_token(id));
    const std::int32_t one[] = {id};  // special ones give nothing
    ASSERT_EQ(again.decode(one, true), tokenizer_.decode(one, true));
  }
  expect_cases(again, cases_);
}

TEST_P(Fixture, EncodesTheSameFromSeveralThreads) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] { expect_cases(tokenizer_, cases_); });
  }
  for (std::thread& thread : threads) thread.join();
}

INSTANTIATE_TEST_SUITE_P(All, Fixture, ::testing::ValuesIn(testing::fixture_names()),
                         [](const auto& suite) {
                           std::string name = suite.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace nibble
