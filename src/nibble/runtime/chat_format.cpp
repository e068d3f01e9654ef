#include "nibble/runtime/chat_format.h"

#include <algorithm>
#include <array>

#include "nibble/core/error.h"
#include "nibble/core/mapped_file.h"
#include "nibble/formats/gguf_split.h"
#include "nibble/models/checkpoint.h"

namespace nibble {
namespace fs = std::filesystem;
namespace {

using jinja::Dict;
using jinja::Value;

/// The templates in a GGUF file's metadata: "tokenizer.chat_template", and ".name" behind it.
std::vector<TemplateSource> gguf_templates(const GgufFile& file) {
  const std::string key = "tokenizer.chat_template";
  const std::string origin = file.file().path().string() + ": " + key;
  std::vector<TemplateSource> sources;
  if (const auto text = file.find_string(key)) {
    sources.push_back({"default", std::string(*text), origin});
  }
  for (const std::string_view other : file.keys()) {
    if (!other.starts_with(key + ".")) continue;
    const std::string name(other.substr(key.size() + 1));
    sources.push_back({name, std::string(file.get_string(other)), origin + "." + name});
  }
  return sources;
}

/// The special tokens of a GGUF file: ids in its metadata.
Dict gguf_special_tokens(const GgufFile& file) {
  static constexpr std::array<std::pair<const char*, const char*>, 4> kNames{
      {{"bos_token", "bos"},
       {"eos_token", "eos"},
       {"unk_token", "unknown"},
       {"pad_token", "padding"}}};
  Dict tokens;
  const auto texts = file.find_strings("tokenizer.ggml.tokens");
  if (!texts) return tokens;
  for (const auto& [name, key] : kNames) {
    const auto id = file.find_int(std::string("tokenizer.ggml.") + key + "_token_id");
    if (!id || *id < 0 || *id >= static_cast<std::int64_t>(texts->size())) continue;
    tokens.set(name, Value::text(std::string((*texts)[static_cast<std::size_t>(*id)])));
  }
  return tokens;
}

/// A folder that names no BOS or EOS (a tokenizer.model alone) has those of its tokenizer.
void add_tokenizer_tokens(const fs::path& folder, Dict& tokens) {
  const bool alone =
      !file_exists(folder / "tokenizer_config.json") &&
      (file_exists(folder / "tokenizer.model") || file_exists(folder / "tokenizer.json"));
  if (!alone) return;
  const Tokenizer tokenizer = Tokenizer::load(folder);
  const auto add = [&](const char* name, std::optional<std::int32_t> id) {
    if (id && tokens.find(name) == nullptr) {
      tokens.set(name, Value::text(std::string(tokenizer.id_to_token(*id))));
    }
  };
  add("bos_token", tokenizer.bos_id());
  add("eos_token", tokenizer.eos_id());
}

/// A message with its reasoning under the names that templates read, as transformers does it.
Value with_reasoning(const Value& message) {
  const Value* reasoning = nullptr;
  for (const char* name : {"reasoning_content", "thinking", "reasoning"}) {
    reasoning = message.as_dict().find(name);
    if (reasoning != nullptr && !reasoning->is_none()) break;
  }
  if (reasoning == nullptr || reasoning->is_none()) return message;
  const Value text = *reasoning;
  Dict made;
  made.set("thinking", text);
  for (const auto& [key, value] : message.as_dict().entries()) made.set(key, value);
  made.set("reasoning_content", text);
  return Value::dict(std::move(made));
}

Value prepare_messages(const Value& messages, const std::string& origin) {
  if (!messages.is_list()) fail("{}: expected a list of objects", origin);
  std::vector<Value> prepared;
  for (const Value& message : messages.items()) {
    if (!message.is_dict()) {
      fail("{}: item {}: expected an object with \"role\" and \"content\"", origin,
           prepared.size());
    }
    prepared.push_back(with_reasoning(message));
  }
  return Value::list(std::move(prepared));
}

}  // namespace

ChatFormat ChatFormat::load(const fs::path& path) {
  ChatFormat format;
  format.origin_ = path.string();
  if (!file_exists(path)) fail("{}: no such file or folder", format.origin_);
  if (fs::is_directory(path)) {
    format.sources_ = find_templates(path);
    format.special_tokens_ = find_special_tokens(path);
    add_tokenizer_tokens(path, format.special_tokens_);
  } else {
    const GgufFile file = open_gguf_metadata(path);
    format.sources_ = gguf_templates(file);
    format.special_tokens_ = gguf_special_tokens(file);
  }
  // Others are for tasks that are not offered: what is wrong with them is nobody's trouble.
  const auto is_other = [](const TemplateSource& source) {
    return source.name != "default" && source.name != "tool_use";
  };
  if (std::all_of(format.sources_.begin(), format.sources_.end(), is_other)) {
    choose_template(format.sources_, false, format.origin_);  // says what there is
  }
  std::erase_if(format.sources_, is_other);
  for (const TemplateSource& source : format.sources_) {
    format.templates_.emplace_back(source.text, source.origin);
  }
  return format;
}

ChatFormat ChatFormat::from_file(const fs::path& file) {
  ChatFormat format;
  format.origin_ = file.string();
  format.sources_.push_back(
      {"default", read_text_file(file, jinja::kMaxTemplateBytes), format.origin_});
  format.templates_.emplace_back(format.sources_[0].text, format.origin_);
  return format;
}

std::string ChatFormat::render(const ChatInput& input) const {
  Dict variables = special_tokens_;
  variables.set("messages", prepare_messages(input.messages, input.origin));
  variables.set("tools", input.tools);
  variables.set("documents", Value());
  variables.set("add_generation_prompt", Value::boolean(input.add_generation_prompt));
  for (const auto& [name, value] : input.more.entries()) variables.set(name, value);
  const TemplateSource& chosen = choose_template(sources_, !input.tools.is_none(), origin_);
  return templates_[static_cast<std::size_t>(&chosen - sources_.data())].render(variables);
}

Value make_message(const std::string& role, const std::string& content) {
  Dict message;
  message.set("role", Value::text(role));
  message.set("content", Value::text(content));
  return Value::dict(std::move(message));
}

}  // namespace nibble
