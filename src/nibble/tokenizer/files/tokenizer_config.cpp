#include "nibble/tokenizer/files/tokenizer_config.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>

#include "nibble/core/json.h"
#include "nibble/core/log.h"
#include "nibble/core/mapped_file.h"
#include "nibble/core/refuse.h"
#include "nibble/tokenizer/files/loaders.h"

namespace nibble::tokenizers {
namespace {

/// A special token: its text, or an object with "content" and how it is matched.
std::optional<AddedToken> special_token(const Json& json, const std::string& origin) {
  AddedToken token;
  if (json.is_string()) token.content = json.get<std::string>();
  if (json.is_object()) {
    token = parse_added_token(json, origin);
    token.normalized = JsonObject(json, origin).get_bool("normalized", false);
  }
  if (token.content.empty()) return std::nullopt;
  token.special = true;
  return token;
}

/// The special tokens that tokenizer_config.json and special_tokens_map.json name by their role.
class SpecialNames {
 public:
  /// What is read later wins.
  void read(const JsonObject& object) {
    for (const auto& [key, json] : object.json().items()) {
      if (!key.ends_with("_token") || json.is_boolean()) continue;
      const auto token = special_token(json, object.origin());
      remark(key, token, object.origin());
      if (token) {
        roles_.insert_or_assign(key, *token);
      } else {
        roles_.erase(key);
      }
    }
    if (!read_others(object, "extra_special_tokens")) {
      read_others(object, "additional_special_tokens");
    }
  }

  void fill(TokenizerConfig& config) const {
    std::map<std::string, AddedToken> roles = roles_;
    for (const char* key : {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token",
                            "cls_token", "mask_token"}) {
      if (auto role = roles.extract(key)) config.special.push_back(role.mapped());
    }
    for (const auto& [key, token] : roles) config.special.push_back(token);
    config.special.insert(config.special.end(), others_.begin(), others_.end());
    const auto name = [&](const char* key) -> std::optional<std::string> {
      const auto role = roles_.find(key);
      if (role == roles_.end()) return std::nullopt;
      return role->second.content;
    };
    config.bos = name("bos_token");
    config.eos = name("eos_token");
    config.unk = name("unk_token");
    config.pad = name("pad_token");
  }

 private:
  void remark(const std::string& key, const std::optional<AddedToken>& token,
              const std::string& origin) const {
    const auto before = roles_.find(key);
    if (before == roles_.end() || (token && token->content == before->second.content)) return;
    warn("{}: \"{}\" is {}, which is taken, not '{}' of tokenizer_config.json", origin, key,
         token ? fmt::format("'{}'", printable(token->content)) : "none",
         printable(before->second.content));
  }

  /// A list, or an object of roles. Whether there is any.
  bool read_others(const JsonObject& object, const char* key) {
    const auto found = object.json().find(key);
    if (found == object.json().end() || !found->is_structured()) return false;
    for (const auto& [role, json] : found->items()) {
      const auto token = special_token(json, object.origin());
      if (!token) continue;
      if (found->is_object()) {
        roles_.insert_or_assign(role, *token);
      } else {
        others_.push_back(*token);
      }
    }
    return !found->empty();
  }

  std::map<std::string, AddedToken> roles_;  // by key: "eos_token"
  std::vector<AddedToken> others_;
};

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

/// Whether it lists the added tokens, so that no other file is asked.
bool read_main(const std::filesystem::path& file, TokenizerConfig& config, SpecialNames& names) {
  const Json json = read_json_file(file);
  const JsonObject object(json, file.string());
  std::string name = object.find_string("tokenizer_class").value_or("");
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  config.tokenizer_class = name;
  config.add_bos = object.find_bool("add_bos_token");
  config.add_eos = object.find_bool("add_eos_token");
  config.add_prefix_space = object.find_bool("add_prefix_space");
  config.legacy = object.get_bool("legacy", true);
  if (object.get_bool("split_special_tokens", false)) {
    warn("{}: \"split_special_tokens\" is left out: special tokens in a text are tokens",
         file.string());
  }
  names.read(object);
  read_added_decoder(object, config);
  read_chat_template(object, config);
  return object.has("added_tokens_decoder");
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
  SpecialNames names;
  bool complete = false;
  const auto with = [&](const char* name, auto read) {
    if (file_exists(folder / name)) read(folder / name);
  };
  with("tokenizer_config.json",
       [&](const auto& file) { complete = read_main(file, config, names); });
  if (!complete) {
    with("special_tokens_map.json", [&](const auto& file) {
      const Json json = read_json_file(file);
      names.read(JsonObject(json, file.string()));
    });
    with("added_tokens.json", [&](const auto& file) { read_added_tokens(file, config); });
  }
  names.fill(config);
  with("config.json", [&](const auto& file) {
    const Json json = read_json_file(file);
    config.model_type = JsonObject(json, file.string()).find_string("model_type").value_or("");
  });
  with("chat_template.jinja",
       [&](const auto& file) { config.chat_template = read_text_file(file, 1u << 24); });
  return config;
}

}  // namespace nibble::tokenizers
