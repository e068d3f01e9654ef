// What a Tokenizer is made of, whatever kind of file it came from.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "nibble/tokenizer/bpe/word_cache.h"
#include "nibble/tokenizer/bpe/word_model.h"
#include "nibble/tokenizer/files/sentencepiece_file.h"
#include "nibble/tokenizer/steps/added_tokens.h"
#include "nibble/tokenizer/steps/normalizer.h"
#include "nibble/tokenizer/steps/pre_tokenizer.h"
#include "nibble/tokenizer/steps/token_decoder.h"
#include "nibble/tokenizer/text/string_table.h"

namespace nibble::tokenizers {

/// What is declared beside the vocabulary: by tokenizer_config.json or by GGUF's keys.
struct Declarations {
  std::optional<std::int32_t> bos;
  std::optional<std::int32_t> eos;
  std::optional<std::int32_t> unk;
  std::optional<std::int32_t> pad;
  std::vector<std::int32_t> other_ends;  // end of turn, end of message
  std::string chat_template;             // empty: none
};

/// Memory of one encode() under way.
struct Scratch {
  MergeScratch merge;
  WordCache cache;
};

/// Keeps Scratch between calls, so that the cache stays warm; as many as ever ran at once.
class ScratchPool {
 public:
  std::unique_ptr<Scratch> take();
  void give_back(std::unique_ptr<Scratch> scratch);

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Scratch>> free_;
};

/// What save() needs to write tokenizer.json again.
struct JsonSource {
  nlohmann::json description;  // tokenizer.json without vocabulary and merges
  std::shared_ptr<const MergeTable> merges;
};

struct Parts {
  std::string origin;                        // the file, for errors
  std::shared_ptr<const StringTable> vocab;  // the model's own tokens
  AddedTokens added;
  std::unique_ptr<Normalizer> normalizer;  // may be null
  PreTokenizer pre_tokenizer;
  std::unique_ptr<WordModel> model;
  std::vector<std::int32_t> prefix;  // ids in front of every text
  std::vector<std::int32_t> suffix;
  TokenDecoder decoder{nullptr, ""};
  Declarations declared;
  std::optional<JsonSource> json;                  // a tokenizer of the tokenizer.json kind,
  std::optional<SentencePieceFile> sentencepiece;  // or one of the tokenizer.model kind
  bool legacy = true;                              // of tokenizer_config.json
  mutable ScratchPool scratch;
};

}  // namespace nibble::tokenizers
