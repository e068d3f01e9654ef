// A model's chat template: turns a conversation into the prompt that the model was trained on. The
// language is Jinja, as transformers runs it: ImmutableSandboxedEnvironment, trim_blocks,
// lstrip_blocks, loop controls, its own tojson.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "nibble/core/error.h"
#include "nibble/template/values/value.h"

namespace nibble {

namespace jinja {
class Body;
}

/// What is wrong with a template, or what it raised (raise_exception).
class TemplateError : public Error {
 public:
  TemplateError(std::string origin, int line, std::string type, std::string message);
  /// Python's or Jinja's name of it: "UndefinedError", "TemplateSyntaxError".
  const std::string& type() const { return type_; }
  /// The message without file and line.
  const std::string& message() const { return message_; }

 private:
  std::string type_;
  std::string message_;
};

/// Immutable, and safe to use from several threads at once.
class ChatTemplate {
 public:
  /// `origin` (a file's name, as a rule) opens every error. Throws TemplateError for what is no
  /// template, Error for one that is no UTF-8 or too long.
  ChatTemplate(std::string_view text, std::string origin);
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  /// The prompt. `variables`: messages, tools, add_generation_prompt, bos_token and whatever else
  /// the template reads. Throws TemplateError, also if it takes too long or writes too much, and
  /// Interrupted.
  std::string render(const jinja::Dict& variables) const;

 private:
  std::string origin_;
  std::unique_ptr<const jinja::Body> body_;
};

}  // namespace nibble
