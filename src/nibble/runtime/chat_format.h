// How a model wants a conversation written: its chat template with its special tokens.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "nibble/template/chat_template.h"
#include "nibble/template/template_files.h"
#include "nibble/template/values/value.h"

namespace nibble {

/// What a conversation's prompt is made of.
struct ChatInput {
  jinja::Value messages;               // a list of objects with "role" and "content"
  jinja::Value tools;                  // a list of JSON schemas, or None
  bool add_generation_prompt = false;  // begin the assistant's answer
  jinja::Dict more;                    // any other variables; they win over the special tokens
  std::string origin = "messages";     // where the messages are from, for errors
};

class ChatFormat {
 public:
  /// Of a model's folder, or a GGUF file. Throws Error if it has no template.
  static ChatFormat load(const std::filesystem::path& path);
  /// Of a template alone, without special tokens.
  static ChatFormat from_file(const std::filesystem::path& file);

  /// The prompt. Throws Error for messages of another form, and as ChatTemplate::render().
  std::string render(const ChatInput& input) const;

 private:
  ChatFormat() = default;

  std::string origin_;
  std::vector<TemplateSource> sources_;
  std::vector<ChatTemplate> templates_;  // one a source
  jinja::Dict special_tokens_;
};

/// A message of a conversation.
jinja::Value make_message(const std::string& role, const std::string& content);

}  // namespace nibble
