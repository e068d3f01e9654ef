// Which of a folder's files the tokenizer is read from.
#include <nlohmann/json.hpp>

#include "nibble/core/mapped_file.h"
#include "nibble/core/refuse.h"
#include "nibble/tokenizer/files/loaders.h"

namespace nibble::tokenizers {
namespace {

/// tokenizer.model is SentencePiece's protobuf, or tiktoken's text, which opens with base64.
std::unique_ptr<Parts> load_model_file(const std::filesystem::path& file,
                                       const TokenizerConfig& config) {
  const MappedFile mapped(file);
  const std::string_view bytes(reinterpret_cast<const char*>(mapped.bytes().data()), mapped.size());
  const std::string origin = file.string();
  const bool text = !bytes.empty() && bytes[0] > ' ';  // a protobuf opens with 0x0A
  if (text) return load_tiktoken(bytes, config, origin);
  return build_sentencepiece(read_sentencepiece(bytes, origin), config, origin);
}

}  // namespace

std::unique_ptr<Parts> load_folder(const std::filesystem::path& folder) {
  if (!file_exists(folder)) refuse("{}: no such folder", folder.string());
  const TokenizerConfig config = read_tokenizer_config(folder);
  if (file_exists(folder / "tokenizer.json")) {
    return load_tokenizer_json(folder / "tokenizer.json", config);
  }
  if (file_exists(folder / "tokenizer.model")) {
    return load_model_file(folder / "tokenizer.model", config);
  }
  if (file_exists(folder / "vocab.json") && file_exists(folder / "merges.txt")) {
    return load_vocab_and_merges(folder, config);
  }
  refuse("{}: no tokenizer: expected tokenizer.json, tokenizer.model, or vocab.json and merges.txt",
         folder.string());
}

}  // namespace nibble::tokenizers
