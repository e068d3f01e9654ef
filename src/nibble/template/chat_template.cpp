#include "nibble/template/chat_template.h"

#include "nibble/core/utf8.h"
#include "nibble/template/builtins/filters.h"
#include "nibble/template/parse/lexer.h"
#include "nibble/template/parse/parser.h"
#include "nibble/template/run/machine.h"
#include "nibble/template/values/raised.h"

namespace nibble {
namespace {

/// A message in one line.
std::string one_line(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
  }
  return text;
}

}  // namespace

TemplateError::TemplateError(std::string origin, int line, std::string type, std::string message)
    : Error(fmt::format("{}, line {}: {}: {}", origin, line, type, one_line(message))),
      type_(std::move(type)),
      message_(std::move(message)) {}

ChatTemplate::ChatTemplate(std::string_view text, std::string origin) : origin_(std::move(origin)) {
  if (text.size() > jinja::kMaxTemplateBytes) {
    fail("{}: a template of {} bytes, expected at most {}", origin_, text.size(),
         jinja::kMaxTemplateBytes);
  }
  if (!is_valid_utf8(text)) fail("{}: the template is not valid UTF-8", origin_);
  try {
    body_ = std::make_unique<const jinja::Body>(jinja::parse(text));
  } catch (const jinja::SyntaxError& error) {
    throw TemplateError(origin_, error.line(), error.type(), error.message());
  }
}

ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

std::string ChatTemplate::render(const jinja::Dict& variables) const {
  jinja::Dict globals;
  jinja::add_globals(globals);
  for (const auto& [name, value] : variables.entries()) globals.set(name, value);
  jinja::Budget budget;
  jinja::Machine machine(globals);
  try {
    body_->execute(machine);
  } catch (const jinja::Raised& raised) {
    throw TemplateError(origin_, machine.line, raised.type(), raised.message());
  }
  return machine.take_output();
}

}  // namespace nibble
