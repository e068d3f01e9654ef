// From files to Parts and back; each kind of file has a .cpp of its own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "nibble/tokenizer/files/sentencepiece_file.h"
#include "nibble/tokenizer/files/tokenizer_config.h"
#include "nibble/tokenizer/parts.h"
#include "nibble/tokenizer/steps/added_tokens.h"
#include "nibble/tokenizer/tokenizer.h"

namespace nibble::tokenizers {

/// Ids at and above this are refused: tables are as long as the largest id.
inline constexpr std::int64_t kMaxTokenId = 1 << 21;

std::unique_ptr<Parts> load_folder(const std::filesystem::path& folder);
std::unique_ptr<Parts> load_gguf_vocab(const GgufVocab& vocab);
/// GGUF's tables of a tokenizer, one entry for each id (unused where an id has no token). Throws
/// Error, opening with parts.origin, for a tokenizer that GGUF cannot describe, saying what of it.
GgufVocab make_gguf_vocab(const Parts& parts);
/// The name that GGUF has for this way of cutting text ("tokenizer.ggml.pre"); empty: none.
std::string find_gguf_pre(const std::vector<std::string>& patterns, bool ignore_merges, bool nfc);
void save_parts(const Parts& parts, const std::filesystem::path& folder);
void save_parts_as_json(const Parts& parts, const std::filesystem::path& folder);

/// tokenizer.json without "added_tokens" of a SentencePiece tokenizer. Throws Error, opening with
/// parts.origin, for one that normalises in ways that few do.
nlohmann::json sentencepiece_to_json(const Parts& parts);

/// The tables of a BPE tokenizer of the tokenizer.json kind.
struct BpeTables {
  std::vector<std::pair<std::string, std::int64_t>> vocab;  // token, id
  std::vector<std::pair<std::string, std::string>> merges;  // by rank
  std::vector<AddedToken> added;
  bool numbered_by_order = false;  // added tokens have the ids of number_added(), not their own
};

/// Builds a tokenizer from tokenizer.json's objects ("normalizer", "pre_tokenizer", "model" less
/// its tables, "post_processor", "decoder") and the tables. Throws Error, opening with `origin`.
std::unique_ptr<Parts> build_bpe(nlohmann::json description, const BpeTables& tables,
                                 const TokenizerConfig& config, const std::string& origin);

/// "left right" as a pair. Throws Error, opening with `origin`, naming merge `index`.
std::pair<std::string, std::string> parse_merge(std::string_view line, std::size_t index,
                                                const std::string& origin);

std::unique_ptr<Parts> load_tokenizer_json(const std::filesystem::path& file,
                                           const TokenizerConfig& config);
std::unique_ptr<Parts> load_vocab_and_merges(const std::filesystem::path& folder,
                                             const TokenizerConfig& config);
std::unique_ptr<Parts> load_tiktoken(std::string_view text, const TokenizerConfig& config,
                                     const std::string& origin);
std::unique_ptr<Parts> build_sentencepiece(SentencePieceFile file, const TokenizerConfig& config,
                                           const std::string& origin);

/// "post_processor" of tokenizer.json that puts tokens (text and id) around a text.
nlohmann::json make_template(const std::optional<std::pair<std::string, std::int32_t>>& first,
                             const std::optional<std::pair<std::string, std::int32_t>>& last);

/// "pre_tokenizer" of tokenizer.json: words by a regular expression, then bytes.
nlohmann::json byte_level_split(const std::vector<std::string>& patterns);
/// That of GPT-2.
nlohmann::json gpt2_pre_tokenizer(bool add_prefix_space);

/// Gives the added tokens of a tokenizer.json, and behind them those that only `config` has, the
/// ids that the `tokenizers` library gives them, whatever the files say: the vocabulary's where the
/// text is in it, else the next ones behind the vocabulary. Remarks on those that the files call
/// otherwise.
void number_added(std::vector<AddedToken>& tokens, TokenizerConfig& config,
                  const StringTable& vocab, std::size_t vocab_tokens, const std::string& origin);

/// Joins what `config` declares to `tokens`: added tokens that are missing there, and tokens named
/// as special ones.
void declare_tokens(std::vector<AddedToken>& tokens, const StringTable& vocab,
                    const TokenizerConfig& config, const std::string& origin);

/// Fills parts.declared from the names in `config`.
void declare_ids(Parts& parts, const TokenizerConfig& config);

}  // namespace nibble::tokenizers
