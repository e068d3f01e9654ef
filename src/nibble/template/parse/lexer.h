// Cuts a template into tokens, white space controlled as Jinja does with trim_blocks and
// lstrip_blocks on: the first newline behind a tag and the blanks before one on its line are not
// text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "nibble/template/values/raised.h"
#include "nibble/template/values/value.h"

namespace nibble::jinja {

struct Token {
  enum class Type {
    kData,
    kVariableBegin,
    kVariableEnd,
    kBlockBegin,
    kBlockEnd,
    kName,
    kText,
    kInteger,
    kReal,
    kOperator,
    kEnd
  };
  Type type;
  int line;
  std::string text;  // the data, name, operator, or text literal
  Value value;       // of numbers
};

/// Throws SyntaxError. `source`: valid UTF-8. The last token is kEnd.
std::vector<Token> tokenize(std::string_view source);

/// A template that cannot be parsed.
class SyntaxError : public Raised {
 public:
  SyntaxError(int line, std::string message, std::string type = "TemplateSyntaxError")
      : Raised(std::move(type), std::move(message)), line_(line) {}
  int line() const { return line_; }

 private:
  int line_;
};

template <typename... Args>
[[noreturn]] void syntax_error(int line, fmt::format_string<Args...> format, Args&&... args) {
  throw SyntaxError(line, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace nibble::jinja
