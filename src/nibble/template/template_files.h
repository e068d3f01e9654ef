// Where a model's folder keeps its chat templates and special tokens: chat_template.jinja,
// chat_templates/ or additional_chat_templates/, tokenizer_config.json, special_tokens_map.json.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "nibble/template/values/value.h"

namespace nibble {

struct TemplateSource {
  std::string name;    // "default", "tool_use"
  std::string text;    // Jinja
  std::string origin;  // the file, for errors
};

/// All templates of a folder, none if it has none. A file of its own wins over an entry of
/// tokenizer_config.json with the same name. Throws Error naming file and key.
std::vector<TemplateSource> find_templates(const std::filesystem::path& folder);

/// The special tokens that a folder names, as a template knows them: bos_token, eos_token ...
jinja::Dict find_special_tokens(const std::filesystem::path& folder);

/// The template that transformers would take: for a conversation with tools the one named
/// "tool_use", if there is one, else "default". Throws Error, opening with `origin`, if there is
/// none.
const TemplateSource& choose_template(const std::vector<TemplateSource>& sources, bool has_tools,
                                      const std::string& origin);

}  // namespace nibble
