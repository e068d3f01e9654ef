// Writes a tokenizer's files.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "nibble/core/output.h"
#include "nibble/tokenizer/files/loaders.h"

namespace nibble::tokenizers {
namespace {

using nlohmann::json;

void write_file(const std::filesystem::path& file, std::string_view text) {
  OutputFile output(file);
  output.write(text);
  output.commit();
}

json token_json(const AddedToken& token) {
  return {{"content", token.content},         {"special", token.special},
          {"single_word", token.single_word}, {"lstrip", token.lstrip},
          {"rstrip", token.rstrip},           {"normalized", token.normalized}};
}

std::string_view text_of(const Parts& parts, std::int32_t id) {
  const AddedToken* added = parts.added.find(id);
  return added ? std::string_view(added->content) : parts.vocab->text(id);
}

json config_json(const Parts& parts, bool as_sentencepiece) {
  json config{{"tokenizer_class", as_sentencepiece ? "LlamaTokenizer" : "PreTrainedTokenizerFast"},
              {"clean_up_tokenization_spaces", false}};
  const auto name = [&](const char* key, std::optional<std::int32_t> id) {
    if (id) config[key] = text_of(parts, *id);
  };
  name("bos_token", parts.declared.bos);
  name("eos_token", parts.declared.eos);
  name("unk_token", parts.declared.unk);
  name("pad_token", parts.declared.pad);
  json added = json::object();
  for (const AddedToken& token : parts.added.tokens()) {
    added[std::to_string(token.id)] = token_json(token);
  }
  config["added_tokens_decoder"] = std::move(added);
  if (!parts.declared.chat_template.empty()) {
    config["chat_template"] = parts.declared.chat_template;
  }
  if (as_sentencepiece) {
    config["add_bos_token"] = !parts.prefix.empty();
    config["add_eos_token"] = !parts.suffix.empty();
    config["legacy"] = parts.legacy;
  }
  return config;
}

json merges_json(const Parts& parts) {
  const auto sorted = parts.json->merges->sorted();
  const bool has_blank = std::any_of(sorted.begin(), sorted.end(), [&](const auto& merge) {
    return parts.vocab->text(merge.result).find(' ') != std::string_view::npos;
  });
  json merges = json::array();
  for (const auto& merge : sorted) {
    const std::string left(parts.vocab->text(merge.left));
    const std::string right(parts.vocab->text(merge.right));
    merges.push_back(has_blank ? json::array({left, right}) : json(left + " " + right));
  }
  return merges;
}

json bpe_json(const Parts& parts) {
  json document = parts.json->description;
  json vocab = json::object();
  for (std::int32_t id = 0; id < parts.vocab->size(); ++id) {
    if (parts.vocab->has(id)) vocab[std::string(parts.vocab->text(id))] = id;
  }
  document["model"]["type"] = "BPE";
  document["model"]["vocab"] = std::move(vocab);
  document["model"]["merges"] = merges_json(parts);
  return document;
}

json tokenizer_json(const Parts& parts) {
  json document = parts.sentencepiece ? sentencepiece_to_json(parts) : bpe_json(parts);
  json added = json::array();
  for (const AddedToken& token : parts.added.tokens()) {
    added.push_back(token_json(token));
    added.back()["id"] = token.id;
  }
  document["added_tokens"] = std::move(added);
  return document;
}

}  // namespace

void save_parts(const Parts& parts, const std::filesystem::path& folder) {
  if (!parts.sentencepiece) return save_parts_as_json(parts, folder);
  write_file(folder / "tokenizer_config.json", config_json(parts, true).dump(2));
  write_file(folder / "tokenizer.model", write_sentencepiece(*parts.sentencepiece));
}

void save_parts_as_json(const Parts& parts, const std::filesystem::path& folder) {
  write_file(folder / "tokenizer_config.json", config_json(parts, false).dump(2));
  write_file(folder / "tokenizer.json", tokenizer_json(parts).dump());
}

}  // namespace nibble::tokenizers
