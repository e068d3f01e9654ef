// What the fixtures do not show: files that are wrong or odd, streams, long texts.
#include "nibble/tokenizer/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error_matchers.h"
#include "core/temporary_folder.h"
#include "nibble/core/mapped_file.h"
#include "nibble/tokenizer/files/sentencepiece_file.h"
#include "tokenizer/fixtures.h"

namespace nibble {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using Ids = std::vector<std::int32_t>;

Tokenizer fixture(const std::string& name) {
  return Tokenizer::load(testing::fixture_folder() / name);
}

/// A copy of a fixture's tokenizer.json with one thing changed.
Tokenizer changed(const std::string& name, const std::string& pointer, const Json& value) {
  Json json = read_json_file(testing::fixture_folder() / name / "tokenizer.json");
  json[Json::json_pointer(pointer)] = value;
  const testing::TemporaryFolder folder;
  testing::write_file(folder / "tokenizer.json", json.dump());
  return Tokenizer::load(folder.path());
}

TEST(Tokenizer, UnsupportedPartsAreRefusedByName) {
  const auto refused = [](const std::string& pointer, const Json& value, const char* message) {
    EXPECT_ERROR(changed("llama3", pointer, value), HasSubstr(message));
  };
  refused("/model/type", "Unigram", "model.type 'Unigram' is not supported");
  refused("/model/dropout", 0.1, "model.dropout");
  refused("/model/end_of_word_suffix", "</w>", "end_of_word_suffix '</w>'");
  refused("/normalizer", {{"type", "Nmt"}}, "normalizer 'Nmt' is not supported");
  refused("/pre_tokenizer", {{"type", "BertPreTokenizer"}}, "pre_tokenizer 'BertPreTokenizer'");
  refused("/post_processor", {{"type", "Other"}}, "post_processor 'Other'");
  refused("/decoder", {{"type", "CTC"}}, "decoder 'CTC'");
  refused("/pre_tokenizer/pretokenizers/0/pattern", {{"Regex", "(a"}}, "wrong pattern");
  refused("/pre_tokenizer/pretokenizers/0/pattern", {{"Regex", "a\\Kb"}}, "\\K is not supported");
  refused("/pre_tokenizer/pretokenizers/0/behavior", "Glued", "behavior 'Glued'");
  refused("/model/vocab/a", -1, "has id -1");
  refused("/model/vocab/a", 1 << 30, "has id 1073741824");
  refused("/model/vocab/a", 1, "is given to");
  refused("/model/vocab/a", "x", "'a': expected an id");
  refused("/model/merges/0", "one", "merge 0 ('one')");
  refused("/model/merges/0", Json::array({"a", "b", "c"}), "merge 0: expected two tokens");
  refused("/model/merges/0", Json::array({"a", "no-such"}), "'no-such' is not in the vocabulary");
  refused("/added_tokens/-", {{"id", 5000}, {"content", std::string(5000, 'x')}},
          "added token of 5000 bytes");
  refused("/model/type", "two\nlines" + std::string(5000, 'x'), "'two?linesxxx");
}

// As the `tokenizers` library (0.23) gives them: a merge written as a pair may hold blanks.
TEST(Tokenizer, MergesOfTokensWithBlanks) {
  const testing::TemporaryFolder folder;
  testing::write_file(folder / "tokenizer.json", R"({"model": {"type": "BPE",
      "vocab": {"a": 0, "b": 1, " ": 2, "a ": 3, "a b": 4},
      "merges": [["a", " "], ["a ", "b"]]}})");
  const Tokenizer tokenizer = Tokenizer::load(folder.path());
  EXPECT_EQ(tokenizer.encode("a bab"), (Ids{4, 0, 1}));
  EXPECT_EQ(tokenizer.decode(Ids{4}), "a b");
}

TEST(Tokenizer, FoldersWithoutTokenizerAreErrors) {
  EXPECT_ERROR(Tokenizer::load("/no/such/folder"), HasSubstr("/no/such/folder"));
  const testing::TemporaryFolder folder;
  EXPECT_ERROR(Tokenizer::load(folder.path()), HasSubstr("expected tokenizer.json"));
  testing::write_file(folder / "tokenizer.model", "");
  EXPECT_ERROR(Tokenizer::load(folder.path()), HasSubstr("without pieces"));
  testing::write_file(folder / "tokenizer.model", "aGVsbG8= 0\n");
  EXPECT_ERROR(Tokenizer::load(folder.path()), HasSubstr("1 tiktoken ranks"));
  testing::write_file(folder / "tokenizer.json", "{\"model\": ");
  EXPECT_ERROR(Tokenizer::load(folder.path()), HasSubstr("not valid JSON"));
  testing::write_file(folder / "tokenizer.json", std::string(100'000, '['));
  EXPECT_ERROR(Tokenizer::load(folder.path()), HasSubstr("nested deeper"));
  testing::write_file(folder / "tokenizer.json", "[1, 2]");
  EXPECT_ERROR(Tokenizer::load(folder.path()), HasSubstr("expected a JSON object"));
}

TEST(Tokenizer, UnigramModelsAreRefused) {
  tokenizers::SentencePieceFile file;
  file.pieces = {"<unk>", "a"};
  file.scores = {0, -1};
  file.types = {tokenizers::PieceType::kUnknown, tokenizers::PieceType::kNormal};
  file.model_type = 1;
  const testing::TemporaryFolder folder;
  testing::write_file(folder / "tokenizer.model", tokenizers::write_sentencepiece(file));
  EXPECT_ERROR(Tokenizer::load(folder.path()), HasSubstr("type unigram is not supported"));
}

// "ab" is unused: it can be merged into "abc", but is taken apart where it is left over.
TEST(Tokenizer, UnusedPiecesAreTakenApart) {
  using tokenizers::PieceType;
  tokenizers::SentencePieceFile file;
  file.pieces = {"<unk>", "a", "b", "c", "ab", "abc"};
  file.scores = {0, -10, -10, -10, -1, -2};
  file.types = {PieceType::kUnknown, PieceType::kNormal, PieceType::kNormal,
                PieceType::kNormal,  PieceType::kUnused, PieceType::kNormal};
  file.model_type = 2;
  file.bos_id = file.eos_id = -1;
  file.add_dummy_prefix = file.remove_extra_whitespaces = false;
  const testing::TemporaryFolder folder;
  testing::write_file(folder / "tokenizer.model", tokenizers::write_sentencepiece(file));
  const Tokenizer tokenizer = Tokenizer::load(folder.path());
  EXPECT_EQ(tokenizer.encode("abcab"), (Ids{5, 1, 2}));
  EXPECT_EQ(tokenizer.encode("axyb"), (Ids{1, 0, 2}));  // one unknown for the run
}

TEST(Tokenizer, StreamKeepsTheBlankWhereTextGoesOn) {
  const Tokenizer tokenizer = fixture("sp-llama");
  const Ids the{tokenizer.token_to_id("▁the").value()};
  EXPECT_EQ(testing::stream(tokenizer, the), "the");
  EXPECT_EQ(testing::stream(tokenizer, the, {.continues = true}), " the");
  StreamDecoder decoder(tokenizer);
  EXPECT_EQ(decoder.push(the[0]), "the");
  EXPECT_EQ(decoder.push(the[0]), " the");
  EXPECT_EQ(decoder.finish(), "");
  EXPECT_EQ(decoder.push(the[0]), "the") << "finish() starts a new text";
}

TEST(Tokenizer, StreamHoldsBackHalfCharacters) {
  const Tokenizer tokenizer = fixture("llama2");
  const auto byte = [&](const char* name) { return tokenizer.token_to_id(name).value(); };
  StreamDecoder decoder(tokenizer);
  EXPECT_EQ(decoder.push(byte("<0xF0>")), "");
  EXPECT_EQ(decoder.push(byte("<0x9F>")), "");
  EXPECT_EQ(decoder.push(byte("<0x98>")), "");
  EXPECT_EQ(decoder.push(byte("<0x80>")), "😀");
  EXPECT_EQ(decoder.push(byte("<0xE2>")), "");
  EXPECT_EQ(decoder.push(byte("<0x28>")), "\uFFFD(");
  EXPECT_EQ(decoder.push(byte("<0xC3>")), "");
  EXPECT_EQ(decoder.finish(), "\uFFFD");
}

TEST(Tokenizer, IdsWithoutTokenGiveNothing) {
  const Tokenizer tokenizer = fixture("llama3");
  EXPECT_EQ(tokenizer.decode(Ids{-1, 1'000'000}), "");
  EXPECT_EQ(tokenizer.id_to_token(-5), "");
  EXPECT_EQ(tokenizer.token_to_id("no such token"), std::nullopt);
}

TEST(Tokenizer, ConfigDeclaresSpecialTokensAndTemplates) {
  const testing::TemporaryFolder folder;
  const auto source = testing::fixture_folder() / "llama3" / "tokenizer.json";
  std::filesystem::copy(source, folder / "tokenizer.json");
  testing::write_file(folder / "tokenizer_config.json", R"({
    "bos_token": {"content": "<|begin|>"}, "eos_token": "<|end|>",
    "added_tokens_decoder": {"900": {"content": "<|im_end|>", "special": true}},
    "chat_template": [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]
  })");
  const Tokenizer tokenizer = Tokenizer::load(folder.path());
  EXPECT_EQ(tokenizer.bos_id(), tokenizer.token_to_id("<|begin|>"));
  // Behind the vocabulary's 360 tokens and the five added in tokenizer.json, whatever id it says.
  EXPECT_EQ(tokenizer.end_ids(), (Ids{tokenizer.eos_id().value(), 365}));
  EXPECT_EQ(tokenizer.vocab_size(), 366);
  EXPECT_EQ(tokenizer.encode("<|im_end|>", {.add_special = false}), Ids{365});
  EXPECT_EQ(tokenizer.special_text(365), "<|im_end|>");
  EXPECT_EQ(tokenizer.special_text(5), "");
  EXPECT_EQ(tokenizer.to_gguf().chat_template, "D");
  testing::write_file(folder / "chat_template.jinja", "J");
  EXPECT_EQ(Tokenizer::load(folder.path()).to_gguf().chat_template, "J");
}

// The `tokenizers` library (0.23) numbers added tokens in their order, behind the vocabulary; a
// text that is in the vocabulary has its id. The ids here are those that it gives.
TEST(Tokenizer, AddedTokensAreNumberedInTheirOrder) {
  const auto token = [](int id, const char* content) -> Json {
    return {{"id", id}, {"content", content}, {"special", true}};
  };
  const auto ids = [&](const Json& added, std::initializer_list<const char*> contents) {
    Json json = read_json_file(testing::fixture_folder() / "llama3" / "tokenizer.json");
    json["added_tokens"] = added;
    json["post_processor"] = nullptr;  // it names tokens that are gone
    const testing::TemporaryFolder changed_folder;
    testing::write_file(changed_folder / "tokenizer.json", json.dump());
    const Tokenizer tokenizer = Tokenizer::load(changed_folder.path());
    Ids found;
    for (const char* content : contents) found.push_back(tokenizer.token_to_id(content).value());
    return found;
  };
  EXPECT_EQ(ids({token(900, "<a>"), token(899, "<b>")}, {"<a>", "<b>"}), (Ids{360, 361}));
  EXPECT_EQ(ids(Json::array({token(5, "<a>")}), {"<a>"}), Ids{360});
  EXPECT_EQ(ids({token(600, "<b>"), token(600, "<c>")}, {"<b>", "<c>"}), (Ids{360, 361}));
  EXPECT_EQ(ids({token(7, "a"), token(-1, "<c>")}, {"<c>"}), Ids{360});

  const testing::TemporaryFolder folder;
  std::filesystem::copy(testing::fixture_folder() / "llama3" / "tokenizer.json",
                        folder / "tokenizer.json");
  testing::write_file(folder / "tokenizer_config.json", R"({"added_tokens_decoder": {
      "900": {"content": "<|im_end|>", "special": true}, "3": {"content": "new"}}})");
  const Tokenizer tokenizer = Tokenizer::load(folder.path());
  EXPECT_EQ(tokenizer.token_to_id("new"), 365);
  EXPECT_EQ(tokenizer.token_to_id("<|im_end|>"), 366);
}

// As transformers 5.24 numbers them: roles in its own order, then the others;
// special_tokens_map.json wins, but is not read beside "added_tokens_decoder".
TEST(Tokenizer, SpecialTokensThatAreInNoVocabulary) {
  const testing::TemporaryFolder folder;
  std::filesystem::copy(testing::fixture_folder() / "llama3" / "tokenizer.json",
                        folder / "tokenizer.json");
  const auto id = [&](const char* text) {
    const Tokenizer tokenizer = Tokenizer::load(folder.path());
    const auto found = tokenizer.token_to_id(text);
    if (found) {
      EXPECT_EQ(tokenizer.encode(text, {.add_special = false}), Ids{*found});
    }
    return found;
  };
  testing::write_file(folder / "tokenizer_config.json", R"({"pad_token": "<pad>",
    "image_token": "<image>", "eos_token": "<end>", "additional_special_tokens": ["<x>", "<y>"]})");
  EXPECT_EQ(id("<end>"), 365);
  EXPECT_EQ(id("<pad>"), 366);
  EXPECT_EQ(id("<image>"), 367);
  EXPECT_EQ(id("<x>"), 368);
  EXPECT_EQ(id("<y>"), 369);
  EXPECT_EQ(Tokenizer::load(folder.path()).eos_id(), 365);
  testing::write_file(folder / "special_tokens_map.json",
                      R"({"eos_token": {"content": "<|end|>"}, "additional_special_tokens": []})");
  const Tokenizer tokenizer = Tokenizer::load(folder.path());
  EXPECT_EQ(tokenizer.eos_id(), tokenizer.token_to_id("<|end|>"));
  EXPECT_EQ(id("<pad>"), 365);
  testing::write_file(folder / "tokenizer_config.json", R"({"added_tokens_decoder": {}})");
  EXPECT_EQ(Tokenizer::load(folder.path()).eos_id(), std::nullopt);
}

// As transformers 5.23 gives them for this folder.
TEST(Tokenizer, APostProcessorAloneSaysWhatIsAdded) {
  const testing::TemporaryFolder folder;
  std::filesystem::copy(testing::fixture_folder() / "llama2" / "tokenizer.json",
                        folder / "tokenizer.json");
  const Ids expected = Tokenizer::load(folder.path()).encode("a");
  ASSERT_EQ(expected.front(), 1);
  testing::write_file(folder / "tokenizer_config.json", R"({"tokenizer_class": "LlamaTokenizer",
    "bos_token": "<s>", "eos_token": "</s>", "add_bos_token": false, "add_eos_token": true})");
  EXPECT_EQ(Tokenizer::load(folder.path()).encode("a"), expected);
}

// OPT's class is known by config.json, or by its first four tokens where no other file is there.
TEST(Tokenizer, BareOptFolderAddsItsBos) {
  const testing::TemporaryFolder folder;
  for (const char* name : {"vocab.json", "merges.txt"}) {
    std::filesystem::copy(testing::fixture_folder() / "opt-files" / name, folder / name);
  }
  EXPECT_EQ(Tokenizer::load(folder.path()).encode(""), Ids{2});
  testing::write_file(folder / "config.json", R"({"model_type": "gpt2"})");
  EXPECT_EQ(Tokenizer::load(folder.path()).encode(""), Ids{});
  testing::write_file(folder / "config.json", R"({"model_type": "opt"})");
  EXPECT_EQ(Tokenizer::load(folder.path()).encode(""), Ids{2});
  testing::write_file(folder / "tokenizer_config.json", R"({"tokenizer_class": "XTokenizer"})");
  EXPECT_ERROR(Tokenizer::load(folder.path()), HasSubstr("'XTokenizer'"));
}

// Words of a megabyte: quadratic work would take hours.
TEST(Tokenizer, LongWordsTakeLinearTime) {
  for (const char* name : {"smollm", "llama2", "sp-llama", "gemma"}) {
    const Tokenizer tokenizer = fixture(name);
    for (const std::string& part : {std::string("a"), std::string("the"), std::string(" "),
                                    std::string("\n"), std::string("é中"), std::string("<")}) {
      std::string text;
      while (text.size() < 300'000) text += part;
      const Ids ids = tokenizer.encode(text, {.add_special = false});
      EXPECT_TRUE(tokenizer.decode(ids) == text) << name << " " << part;  // too long to print
    }
  }
}

TEST(Tokenizer, PatternsThatExplodeAreErrors) {
  const Json pattern{{"Regex", "(a|aa|a+)+$|b"}};
  const Tokenizer tokenizer = changed("llama3", "/pre_tokenizer/pretokenizers/0/pattern", pattern);
  EXPECT_ERROR(tokenizer.encode(std::string(100, 'a') + "b"), HasSubstr("cannot be matched"));
}

}  // namespace
}  // namespace nibble
