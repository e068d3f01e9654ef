// GGUF's own tables. "gpt2": a BPE tokenizer whose way of cutting text is known by a name
// ("tokenizer.ggml.pre"); names and patterns are llama.cpp's. "llama": SentencePiece.
#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "nibble/core/log.h"
#include "nibble/core/refuse.h"
#include "nibble/core/utf8.h"
#include "nibble/tokenizer/files/loaders.h"
#include "nibble/tokenizer/steps/word_patterns.h"

namespace nibble::tokenizers {

namespace {

using nlohmann::json;

struct Pre {
  std::vector<std::string> patterns;
  bool ignore_merges = false;
  bool add_bos = false;  // where the file does not say
  bool nfc = false;      // the original tokenizer normalises; GGUF does not say so
};

const std::map<std::string, Pre, std::less<>>& pre_kinds() {
  static const Pre gpt2{{kGpt2Pattern}};
  static const Pre digits{{R"(\p{N})", kGpt2Pattern}};
  static const Pre qwen2{.patterns = {kQwen2Pattern}, .nfc = true};
  static const Pre llama3{.patterns = {kLlama3Pattern}, .ignore_merges = true, .add_bos = true};
  static const Pre unnamed{
      {R"([\p{P}\$\+<=>\^~\|]+)", kGpt2Pattern, R"(\p{N}+)", "[0-9][0-9][0-9]"}};
  static const Pre falcon{{R"([\p{P}\$\+<=>\^~\|`]+)", kGpt2Pattern, "[0-9][0-9][0-9]"}};
  static const std::map<std::string, Pre, std::less<>> kinds{
      {"default", unnamed},
      {"gpt-2", gpt2},
      {"phi-2", gpt2},
      {"mpt", gpt2},
      {"olmo", gpt2},
      {"jais", gpt2},
      {"smollm", digits},
      {"starcoder", digits},
      {"refact", digits},
      {"command-r", digits},
      {"codeshell", digits},
      {"exaone", digits},
      {"minerva-7b", digits},
      {"qwen2", qwen2},
      {"deepseek-r1-qwen", qwen2},
      {"megrez", qwen2},
      {"stablelm2", {{kQwen2Pattern}}},
      {"llama3", llama3},
      {"llama-v3", llama3},
      {"llama-bpe", llama3},
      {"falcon3", llama3},
      {"pixtral", llama3},
      {"dbrx", {{kLlama3Pattern}}},
      {"smaug-bpe", {{kLlama3Pattern}}},
      {"falcon", falcon},
      {"gpt-4o", {{kGpt4oPattern}}},
      {"tekken", {.patterns = {kTekkenPattern}, .ignore_merges = true}},
  };
  return kinds;
}

const Pre& find_pre(const GgufVocab& vocab) {
  if (vocab.pre.empty()) {
    warn(
        "{}: no \"tokenizer.ggml.pre\" says how text is cut into words: llama.cpp's default is "
        "taken, "
        "and ids may not be those that the model was trained with",
        vocab.origin);
  }
  const std::string name = vocab.pre.empty() ? "default" : vocab.pre;
  const auto found = pre_kinds().find(name);
  if (found != pre_kinds().end()) return found->second;
  std::string known;
  for (const auto& [kind, pre] : pre_kinds()) known += (known.empty() ? "" : ", ") + kind;
  refuse("{}: tokenizer.ggml.pre '{}' is not supported, expected one of {}", vocab.origin, name,
         known);
}

void check_tables(const GgufVocab& vocab) {
  const std::size_t count = vocab.tokens.size();
  if (count == 0 || count >= static_cast<std::size_t>(kMaxTokenId)) {
    refuse("{}: tokenizer.ggml.tokens: {} tokens, expected 1..{}", vocab.origin, count,
           kMaxTokenId - 1);
  }
  if (!vocab.types.empty() && vocab.types.size() != count) {
    refuse("{}: tokenizer.ggml.token_type: {} types for {} tokens", vocab.origin,
           vocab.types.size(), count);
  }
  for (std::size_t id = 0; id < count; ++id) {
    if (!is_valid_utf8(vocab.tokens[id])) refuse("{}: token {} is not UTF-8", vocab.origin, id);
  }
  const auto bad_type = std::find_if(vocab.types.begin(), vocab.types.end(),
                                     [](std::int32_t type) { return type < 0 || type > 6; });
  if (bad_type != vocab.types.end()) {
    refuse("{}: tokenizer.ggml.token_type: a type {}, expected 1..6", vocab.origin, *bad_type);
  }
  for (const auto& id : {vocab.bos, vocab.eos, vocab.unk, vocab.pad, vocab.eot, vocab.eom}) {
    if (id && *id != -1 && (*id < 0 || *id >= static_cast<std::int32_t>(count))) {
      refuse("{}: a special token has id {}, expected 0..{}", vocab.origin, *id, count - 1);
    }
  }
}

PieceType type_of(const GgufVocab& vocab, std::size_t id) {
  if (vocab.types.empty() || vocab.types[id] == 0) return PieceType::kNormal;
  return static_cast<PieceType>(vocab.types[id]);
}

std::optional<std::string> token_text(const GgufVocab& vocab, std::optional<std::int32_t> id) {
  if (!id || *id < 0) return std::nullopt;
  return vocab.tokens[static_cast<std::size_t>(*id)];
}

/// Control, unknown and user-defined tokens, looked for in the text as they are.
std::vector<AddedToken> added_tokens(const GgufVocab& vocab) {
  std::vector<AddedToken> tokens;
  for (std::size_t id = 0; id < vocab.tokens.size(); ++id) {
    const PieceType type = type_of(vocab, id);
    const bool special = type == PieceType::kControl || type == PieceType::kUnknown;
    if ((!special && type != PieceType::kUserDefined) || vocab.tokens[id].empty()) continue;
    tokens.push_back(
        {.id = static_cast<std::int32_t>(id), .content = vocab.tokens[id], .special = special});
  }
  return tokens;
}

TokenizerConfig make_config(const GgufVocab& vocab) {
  TokenizerConfig config;
  config.bos = token_text(vocab, vocab.bos);
  config.eos = token_text(vocab, vocab.eos);
  config.unk = token_text(vocab, vocab.unk);
  config.pad = token_text(vocab, vocab.pad);
  config.add_bos = vocab.add_bos;
  config.add_eos = vocab.add_eos;
  config.chat_template = vocab.chat_template;
  config.added = added_tokens(vocab);
  return config;
}

json describe(const GgufVocab& vocab, const Pre& pre) {
  const auto around = [&](bool add, std::optional<std::int32_t> id) {
    std::optional<std::pair<std::string, std::int32_t>> token;
    if (add && id && *id >= 0) token.emplace(*token_text(vocab, id), *id);
    return token;
  };
  return {{"version", "1.0"},
          {"normalizer", pre.nfc ? json{{"type", "NFC"}} : json(nullptr)},
          {"pre_tokenizer", byte_level_split(pre.patterns)},
          {"decoder", gpt2_pre_tokenizer(false)},
          {"model", {{"type", "BPE"}, {"ignore_merges", pre.ignore_merges}}},
          {"post_processor", make_template(around(vocab.add_bos.value_or(pre.add_bos), vocab.bos),
                                           around(vocab.add_eos.value_or(false), vocab.eos))}};
}

std::unique_ptr<Parts> build_gpt2(const GgufVocab& vocab) {
  BpeTables tables;
  for (std::size_t id = 0; id < vocab.tokens.size(); ++id) {
    tables.vocab.emplace_back(vocab.tokens[id], id);
  }
  if (vocab.merges.empty()) refuse("{}: tokenizer.ggml.merges: missing or empty", vocab.origin);
  for (const std::string& merge : vocab.merges) {
    tables.merges.push_back(parse_merge(merge, tables.merges.size(), vocab.origin));
  }
  return build_bpe(describe(vocab, find_pre(vocab)), tables, make_config(vocab), vocab.origin);
}

std::unique_ptr<Parts> build_llama(const GgufVocab& vocab) {
  if (vocab.scores.size() != vocab.tokens.size()) {
    refuse("{}: tokenizer.ggml.scores: {} scores for {} tokens", vocab.origin, vocab.scores.size(),
           vocab.tokens.size());
  }
  SentencePieceFile file;
  file.pieces = vocab.tokens;
  file.scores = vocab.scores;
  for (std::size_t id = 0; id < vocab.tokens.size(); ++id) {
    file.types.push_back(type_of(vocab, id));
    if (!std::isfinite(file.scores[id])) {
      refuse("{}: tokenizer.ggml.scores: the score of token {} is not finite", vocab.origin, id);
    }
  }
  file.model_type = 2;
  file.byte_fallback =
      std::find(file.types.begin(), file.types.end(), PieceType::kByte) != file.types.end();
  file.unk_id = vocab.unk.value_or(0);
  file.bos_id = vocab.bos.value_or(-1);
  file.eos_id = vocab.eos.value_or(-1);
  file.pad_id = vocab.pad.value_or(-1);
  file.precompiled_charsmap = vocab.precompiled_charsmap;
  file.add_dummy_prefix = vocab.add_space_prefix.value_or(true);
  file.remove_extra_whitespaces = vocab.remove_extra_whitespaces.value_or(false);
  return build_sentencepiece(std::move(file), make_config(vocab), vocab.origin);
}

}  // namespace

std::string find_gguf_pre(const std::vector<std::string>& patterns, bool ignore_merges, bool nfc) {
  // Names that stand for the same, llama.cpp's own first.
  for (const char* preferred : {"gpt-2", "llama-bpe", "qwen2", "smollm"}) {
    const Pre& pre = pre_kinds().at(preferred);
    if (pre.patterns == patterns && pre.ignore_merges == ignore_merges && pre.nfc == nfc) {
      return preferred;
    }
  }
  for (const auto& [name, pre] : pre_kinds()) {
    if (pre.patterns == patterns && pre.ignore_merges == ignore_merges && pre.nfc == nfc) {
      return name;
    }
  }
  return "";
}

std::unique_ptr<Parts> load_gguf_vocab(const GgufVocab& vocab) {
  check_tables(vocab);
  std::unique_ptr<Parts> parts;
  if (vocab.model == "gpt2") {
    parts = build_gpt2(vocab);
  } else if (vocab.model == "llama") {
    parts = build_llama(vocab);
  } else {
    refuse("{}: tokenizer.ggml.model '{}' is not supported, expected gpt2 or llama", vocab.origin,
           vocab.model);
  }
  for (const auto& id : {vocab.eot, vocab.eom}) {
    if (id && *id >= 0) parts->declared.other_ends.push_back(*id);
  }
  return parts;
}

}  // namespace nibble::tokenizers
