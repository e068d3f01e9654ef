#include "nibble/tokenizer/files/tokenizer_config.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "nibble/core/json.h"
#include "nibble/core/mapped_file.h"
#include "nibble/core/refuse.h"
#include "nibble/tokenizer/files/loaders.h"

namespace nibble::tokenizers {
namespace {

/// A token's text: a string, or an object with "content".
std::optional<std::string> token_text(const Json& json, const std::string& origin) {
  if (json.is_string()) return json.get<std::string>();
  if (json.is_object()) return JsonObject(json, origin).get_string("content");
  return std::nullopt;
}

std::optional<std::string> find_token(const JsonObject& object, const char* key) {
  const auto found = object.json().find(key);
  return found == object.json().end() ? std::nullopt : token_text(*found, object.origin());
}

/// The special tokens that both tokenizer_config.json and special_tokens_map.json name.
void read_special_names(const JsonObject& object, TokenizerConfig& config) {
  const auto take = [&](const char* key, std::optional<std::string>& name) {
    if (!name) name = find_token(object, key);
  };
  take("bos_token", config.bos);
  take("eos_token", config.eos);
  take("unk_token", config.unk);
  take("pad_token", config.pad);
  const auto others = object.json().find("additional_special_tokens");
  if (others == object.json().end() || !others->is_array()) return;
  for (const Json& token : *others) {
    if (auto text = token_text(token, object.origin())) config.other_special.push_back(*text);
  }
}

std::int32_t parse_id(std::string_view text, const std::string& origin) {
  std::int32_t id = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || end != text.data() + text.size() || id < 0 || id >= kMaxTokenId) {
    refuse("{}: added_tokens_decoder: '{}' is no id of 0..{}", origin, text, kMaxTokenId - 1);
  }
  return id;
}

void read_added_decoder(const JsonObject& object, TokenizerConfig& config) {
  const auto tokens = object.find_object("added_tokens_decoder");
  if (!tokens) return;
  for (const auto& [id, json] : tokens->json().items()) {
    AddedToken token = parse_added_token(json, object.origin());
    token.id = parse_id(id, object.origin());
    config.added.push_back(std::move(token));
  }
}

/// "chat_template": the text, or a list of named ones.
void read_chat_template(const JsonObject& object, TokenizerConfig& config) {
  const auto found = object.json().find("chat_template");
  if (found == object.json().end()) return;
  if (found->is_string()) config.chat_template = found->get<std::string>();
  if (!found->is_array()) return;
  for (const Json& entry : *found) {
    const JsonObject named(entry, object.origin());
    const std::string text = named.get_string("template");
    if (config.chat_template.empty() || named.get_string("name") == "default") {
      config.chat_template = text;
    }
  }
}

void read_main(const std::filesystem::path& file, TokenizerConfig& config) {
  const Json json = read_json_file(file);
  const JsonObject object(json, file.string());
  std::string name = object.find_string("tokenizer_class").value_or("");
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  config.tokenizer_class = name;
  config.add_bos = object.find_bool("add_bos_token");
  config.add_eos = object.find_bool("add_eos_token");
  config.add_prefix_space = object.find_bool("add_prefix_space");
  config.legacy = object.get_bool("legacy", true);
  read_special_names(object, config);
  read_added_decoder(object, config);
  read_chat_template(object, config);
}

void read_added_tokens(const std::filesystem::path& file, TokenizerConfig& config) {
  const Json json = read_json_file(file);
  const JsonObject object(json, file.string());
  for (const auto& [content, id] : object.json().items()) {
    if (!id.is_number_integer() || id < 0 || id >= kMaxTokenId) {
      refuse("{}: '{}': expected an id of 0..{}", file.string(), content, kMaxTokenId - 1);
    }
    const bool known = std::any_of(config.added.begin(), config.added.end(),
                                   [&](auto& token) { return token.content == content; });
    if (!known) config.added.push_back({.id = id.get<std::int32_t>(), .content = content});
  }
}

}  // namespace

AddedToken parse_added_token(const Json& json, const std::string& origin) {
  const JsonObject object(json, origin);
  AddedToken token;
  token.content = object.get_string("content");
  token.special = object.get_bool("special", false);
  token.single_word = object.get_bool("single_word", false);
  token.lstrip = object.get_bool("lstrip", false);
  token.rstrip = object.get_bool("rstrip", false);
  token.normalized = object.get_bool("normalized", !token.special);
  return token;
}

TokenizerConfig read_tokenizer_config(const std::filesystem::path& folder) {
  TokenizerConfig config;
  const auto with = [&](const char* name, auto read) {
    if (file_exists(folder / name)) read(folder / name);
  };
  with("tokenizer_config.json", [&](const auto& file) { read_main(file, config); });
  with("special_tokens_map.json", [&](const auto& file) {
    const Json json = read_json_file(file);
    read_special_names(JsonObject(json, file.string()), config);
  });
  with("added_tokens.json", [&](const auto& file) { read_added_tokens(file, config); });
  with("config.json", [&](const auto& file) {
    const Json json = read_json_file(file);
    config.model_type = JsonObject(json, file.string()).find_string("model_type").value_or("");
  });
  with("chat_template.jinja",
       [&](const auto& file) { config.chat_template = read_text_file(file, 1u << 24); });
  return config;
}

}  // namespace nibble::tokenizers
