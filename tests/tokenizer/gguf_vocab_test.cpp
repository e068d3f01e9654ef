// Tokenizers from GGUF's tables: equal to the tokenizers whose tables they are.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "core/error_matchers.h"
#include "core/temporary_folder.h"
#include "nibble/core/mapped_file.h"
#include "nibble/tokenizer/files/sentencepiece_file.h"
#include "tokenizer/fixtures.h"

namespace nibble {
namespace {

using ::testing::HasSubstr;
using Ids = std::vector<std::int32_t>;

/// The tables of a fixture's tokenizer.model, as a GGUF file would hold them.
GgufVocab llama_vocab(const std::string& fixture) {
  const auto file = testing::fixture_folder() / fixture / "tokenizer.model";
  const auto model = tokenizers::read_sentencepiece(read_text_file(file), file.string());
  GgufVocab vocab;
  vocab.origin = "model.gguf";
  vocab.model = "llama";
  vocab.tokens = model.pieces;
  vocab.scores = model.scores;
  for (const auto type : model.types) vocab.types.push_back(static_cast<std::int32_t>(type));
  vocab.bos = 1;
  vocab.eos = 2;
  vocab.unk = 0;
  return vocab;
}

/// The tables of a fixture's tokenizer.json.
GgufVocab gpt2_vocab(const std::string& fixture, const std::string& pre) {
  const Json json = read_json_file(testing::fixture_folder() / fixture / "tokenizer.json");
  GgufVocab vocab;
  vocab.origin = "model.gguf";
  vocab.model = "gpt2";
  vocab.pre = pre;
  const auto put = [&](std::int64_t id, const std::string& token, std::int32_t type) {
    const auto index = static_cast<std::size_t>(id);
    if (index >= vocab.tokens.size()) vocab.tokens.resize(index + 1);
    vocab.types.resize(vocab.tokens.size(), 1);
    vocab.tokens[index] = token;
    vocab.types[index] = type;
  };
  for (const auto& [token, id] : json["model"]["vocab"].items()) put(id, token, 1);
  for (const Json& token : json["added_tokens"]) put(token["id"], token["content"], 3);
  for (const Json& merge : json["model"]["merges"]) {
    vocab.merges.push_back(merge[0].get<std::string>() + " " + merge[1].get<std::string>());
  }
  return vocab;
}

/// Whether the text holds a token that Llama 2's tokenizer.json looks for only after the text has
/// been normalized ("normalized": true), which is to say behind a blank. GGUF knows nothing of it.
bool finds_tokens_in_normalized_text(const std::string& fixture, const std::string& text) {
  if (fixture != "llama2") return false;
  return std::ranges::any_of(std::array{"<unk>", "<s>", "</s>"}, [&](const char* token) {
    return text.find(token) != std::string::npos;
  });
}

void expect_cases(const Tokenizer& tokenizer, const std::string& fixture) {
  const Json cases = read_json_file(testing::fixture_folder() / fixture / "cases.json");
  for (const Json& entry : cases) {
    const std::string text = testing::case_text(entry);
    SCOPED_TRACE(::testing::PrintToString(text));
    if (!finds_tokens_in_normalized_text(fixture, text)) {
      EXPECT_EQ(tokenizer.encode(text), entry["ids"].get<Ids>());
    }
    EXPECT_EQ(tokenizer.encode(text, {.add_special = false, .parse_special = false}),
              entry["plain"].get<Ids>());
  }
}

TEST(GgufVocab, LlamaIsSentencePiece) {
  const Tokenizer tokenizer = Tokenizer::from_gguf(llama_vocab("sp-llama"));
  expect_cases(tokenizer, "sp-llama");
  EXPECT_EQ(tokenizer.bos_id(), 1);
  EXPECT_EQ(tokenizer.end_ids(), Ids{2});
  EXPECT_EQ(tokenizer.decode(Ids{1, tokenizer.token_to_id("▁the").value()}, true), "the");
}

TEST(GgufVocab, Gpt2CutsAsItsNameSays) {
  GgufVocab vocab = gpt2_vocab("smollm", "smollm");
  vocab.eos = 0;
  vocab.eot = 1;
  vocab.chat_template = "{{ messages }}";
  const Tokenizer tokenizer = Tokenizer::from_gguf(vocab);
  expect_cases(tokenizer, "smollm");
  EXPECT_EQ(tokenizer.end_ids(), (Ids{0, 1}));
  EXPECT_EQ(tokenizer.to_gguf().chat_template, "{{ messages }}");

  // A token of two digits can only be met where digits are not words of their own.
  vocab.tokens.emplace_back("12");
  vocab.types.push_back(1);
  vocab.merges.emplace_back("1 2");
  const auto twelve = static_cast<std::int32_t>(vocab.tokens.size() - 1);
  EXPECT_EQ(Tokenizer::from_gguf(vocab).encode("12").size(), 2u);
  vocab.pre = "gpt-2";
  EXPECT_EQ(Tokenizer::from_gguf(vocab).encode("12"), Ids{twelve});
}

TEST(GgufVocab, WithoutAWayOfCuttingTheDefaultIsTakenWithARemark) {
  const auto load = [](const char* pre) {
    ::testing::internal::CaptureStderr();
    Tokenizer tokenizer = Tokenizer::from_gguf(gpt2_vocab("smollm", pre));
    return std::pair(tokenizer.encode("It's  1234 x"), ::testing::internal::GetCapturedStderr());
  };
  const auto [ids, remark] = load("");
  EXPECT_THAT(remark, ::testing::HasSubstr("no \"tokenizer.ggml.pre\" says how text is cut"));
  EXPECT_EQ(ids, load("default").first);
  EXPECT_EQ(load("default").second, "");
}

TEST(GgufVocab, SavedFolderGivesTheSame) {
  for (const char* fixture : {"sp-llama", "smollm"}) {
    GgufVocab vocab =
        std::string(fixture) == "smollm" ? gpt2_vocab(fixture, fixture) : llama_vocab(fixture);
    vocab.eos = 2;
    vocab.chat_template = "{{ messages }}";
    const testing::TemporaryFolder folder;
    Tokenizer::from_gguf(vocab).save(folder.path());
    const Tokenizer again = Tokenizer::load(folder.path());
    expect_cases(again, fixture);
    EXPECT_EQ(again.eos_id(), 2);
    EXPECT_EQ(again.to_gguf().chat_template, "{{ messages }}");
  }
}

TEST(GgufVocab, UserDefinedTokensAreFoundInPlainText) {
  GgufVocab vocab = gpt2_vocab("smollm", "smollm");
  vocab.tokens.emplace_back("<tool call>");
  vocab.types.push_back(4);
  const auto id = static_cast<std::int32_t>(vocab.tokens.size() - 1);
  const Tokenizer tokenizer = Tokenizer::from_gguf(vocab);
  for (const bool parse : {true, false}) {
    EXPECT_THAT(tokenizer.encode("a<tool call>b", {.parse_special = parse}),
                ::testing::Contains(id));
  }
  EXPECT_EQ(tokenizer.decode(Ids{id}, true), "<tool call>");
}

TEST(GgufVocab, WrongTablesAreErrors) {
  const auto refused = [](auto change, const std::string& message) {
    GgufVocab vocab = llama_vocab("sp-llama");
    change(vocab);
    EXPECT_ERROR(Tokenizer::from_gguf(vocab), HasSubstr(message));
  };
  refused([](auto& v) { v.model = "bert"; }, "model.gguf: tokenizer.ggml.model 'bert'");
  refused([](auto& v) { v.scores.pop_back(); }, "tokenizer.ggml.scores");
  refused([](auto& v) { v.scores[5] = NAN; }, "not finite");
  refused([](auto& v) { v.types.pop_back(); }, "tokenizer.ggml.token_type");
  refused([](auto& v) { v.types[7] = 9; }, "a type 9");
  refused([](auto& v) { v.tokens[300] = "\xff"; }, "token 300 is not UTF-8");
  refused([](auto& v) { v.tokens.clear(); }, "tokenizer.ggml.tokens");
  refused([](auto& v) { v.bos = 1'000'000; }, "id 1000000");
  refused([](auto& v) { v.types[3 + 65] = 1; }, "without a piece <0x41>");
  GgufVocab vocab = gpt2_vocab("smollm", "nobody-knows");
  EXPECT_ERROR(Tokenizer::from_gguf(vocab), HasSubstr("'nobody-knows' is not supported"));
  vocab.pre = "smollm";
  vocab.merges.push_back("one");
  EXPECT_ERROR(Tokenizer::from_gguf(vocab), HasSubstr("expected two tokens"));
  vocab.merges.back() = "Qx7 zz";
  EXPECT_ERROR(Tokenizer::from_gguf(vocab), HasSubstr("is not in the vocabulary"));
}

// Out and in again: the same ids for every case of the fixture.
TEST(ToGguf, GivesTheSameTokenizer) {
  for (const char* fixture : {"smollm", "llama3", "qwen2-files", "llama2", "gemma", "sp-llama"}) {
    SCOPED_TRACE(fixture);
    const Tokenizer original = Tokenizer::load(testing::fixture_folder() / fixture);
    const GgufVocab vocab = original.to_gguf();
    EXPECT_EQ(static_cast<std::int32_t>(vocab.tokens.size()), original.vocab_size());
    expect_cases(Tokenizer::from_gguf(vocab), fixture);
  }
}

// A SentencePiece tokenizer as tokenizer.json, which wins over nothing else in its folder.
TEST(SaveAsJson, GivesTheSameTokenizer) {
  const testing::TemporaryFolder folder;
  GgufVocab vocab = llama_vocab("sp-llama");
  vocab.chat_template = "{{ messages }}";
  Tokenizer::from_gguf(vocab).save_as_json(folder.path());
  EXPECT_FALSE(std::filesystem::exists(folder / "tokenizer.model"));
  const Tokenizer saved = Tokenizer::load(folder.path());
  expect_cases(saved, "sp-llama");
  EXPECT_EQ(saved.to_gguf().chat_template, "{{ messages }}");
  EXPECT_EQ(saved.bos_id(), 1);
}

TEST(ToGguf, RefusesWhatGgufHasNoNameFor) {
  const Tokenizer falcon = Tokenizer::load(testing::fixture_folder() / "whitespace");
  EXPECT_ERROR(falcon.to_gguf(), HasSubstr("GGUF has no name for"));
}

}  // namespace
}  // namespace nibble
