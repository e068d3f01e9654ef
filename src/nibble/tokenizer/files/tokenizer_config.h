// What stands beside the vocabulary in a model's folder: tokenizer_config.json,
// special_tokens_map.json, added_tokens.json, chat_template.jinja.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "nibble/tokenizer/steps/added_tokens.h"

namespace nibble::tokenizers {

struct TokenizerConfig {
  std::string tokenizer_class;  // without "Fast"; empty: not said
  std::string model_type;       // of config.json; empty: not said
  // Not heeded beside a tokenizer.json, whose post_processor alone says what is put around a text:
  // so does transformers 5, which drops both keys there (4 rewrote the post-processor of Llama's).
  std::optional<bool> add_bos;
  std::optional<bool> add_eos;
  std::optional<bool> add_prefix_space;
  bool legacy = true;  // SentencePiece: a blank in front of text behind special tokens too
  std::optional<std::string> bos;
  std::optional<std::string> eos;
  std::optional<std::string> unk;
  std::optional<std::string> pad;
  std::vector<AddedToken> special;  // all named as such, in transformers' order; without ids
  std::vector<AddedToken> added;
  std::string chat_template;
};

/// Files that are not there are passed over. As in transformers special_tokens_map.json wins over
/// tokenizer_config.json, and neither it nor added_tokens.json is read where the latter has
/// "added_tokens_decoder". Throws Error naming file and key.
TokenizerConfig read_tokenizer_config(const std::filesystem::path& folder);

/// An entry of "added_tokens" or of "added_tokens_decoder", without its id.
AddedToken parse_added_token(const nlohmann::json& json, const std::string& origin);

}  // namespace nibble::tokenizers
