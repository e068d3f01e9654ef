#include "nibble/template/template_files.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "nibble/core/error.h"
#include "nibble/core/json.h"
#include "nibble/core/mapped_file.h"
#include "nibble/template/values/budget.h"

namespace nibble {
namespace fs = std::filesystem;
namespace {

/// Adds a template unless there is one of that name.
void add(std::vector<TemplateSource>& sources, TemplateSource source) {
  const bool known = std::any_of(sources.begin(), sources.end(),
                                 [&](const auto& other) { return other.name == source.name; });
  if (!known) sources.push_back(std::move(source));
}

void add_file(std::vector<TemplateSource>& sources, const std::string& name, const fs::path& file) {
  add(sources, {name, read_text_file(file, jinja::kMaxTemplateBytes), file.string()});
}

void add_files(std::vector<TemplateSource>& sources, const fs::path& folder) {
  std::error_code error;
  std::set<fs::path> files;  // sorted
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".jinja") files.insert(entry.path());
  }
  for (const fs::path& file : files) add_file(sources, file.stem().string(), file);
}

/// "chat_template": one text, or a list of named ones.
void add_entries(std::vector<TemplateSource>& sources, const fs::path& file) {
  const Json json = read_json_file(file);
  const JsonObject config(json, file.string());
  const auto found = json.find("chat_template");
  if (found == json.end() || found->is_null()) return;
  if (!found->is_array()) {
    return add(sources, {"default", config.get_string("chat_template"), file.string()});
  }
  for (const Json& entry : *found) {
    const JsonObject named(entry, file.string() + ": \"chat_template\"");
    add(sources, {named.get_string("name"), named.get_string("template"), file.string()});
  }
}

/// A special token: its text, or an object with "content".
std::optional<std::string> token_text(const Json& json) {
  if (json.is_string()) return json.get<std::string>();
  if (!json.is_object()) return std::nullopt;
  const auto content = json.find("content");
  if (content == json.end() || !content->is_string()) return std::nullopt;
  return content->get<std::string>();
}

}  // namespace

std::vector<TemplateSource> find_templates(const fs::path& folder) {
  std::vector<TemplateSource> sources;
  if (file_exists(folder / "chat_template.jinja")) {
    add_file(sources, "default", folder / "chat_template.jinja");
  }
  for (const char* name : {"chat_templates", "additional_chat_templates"}) {
    add_files(sources, folder / name);
  }
  for (const char* name : {"chat_template.json", "tokenizer_config.json"}) {
    if (file_exists(folder / name)) add_entries(sources, folder / name);
  }
  return sources;
}

jinja::Dict find_special_tokens(const fs::path& folder) {
  jinja::Dict tokens;
  for (const char* file : {"tokenizer_config.json", "special_tokens_map.json"}) {
    if (!file_exists(folder / file)) continue;
    const Json json = read_json_file(folder / file);
    for (const char* key : {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token",
                            "cls_token", "mask_token"}) {
      const auto found = json.find(key);
      if (found == json.end() || tokens.find(key) != nullptr) continue;
      if (const auto text = token_text(*found)) tokens.set(key, jinja::Value::text(*text));
    }
  }
  return tokens;
}

const TemplateSource& choose_template(const std::vector<TemplateSource>& sources, bool has_tools,
                                      const std::string& origin) {
  const auto named = [&](const char* name) {
    return std::find_if(sources.begin(), sources.end(),
                        [&](const auto& source) { return source.name == name; });
  };
  if (has_tools && named("tool_use") != sources.end()) return *named("tool_use");
  if (named("default") != sources.end()) return *named("default");
  if (sources.empty()) {
    fail(
        "{}: no chat template (chat_template.jinja, or \"chat_template\" in "
        "tokenizer_config.json)",
        origin);
  }
  std::string names;
  for (const TemplateSource& source : sources) names += (names.empty() ? "" : ", ") + source.name;
  fail("{}: no chat template named default, found {}", origin, names);
}

}  // namespace nibble
