// What a template's evaluation raises, under the names of Python's and Jinja's exceptions, so that
// a template's author finds in Nibble's message what transformers would have said.
#pragma once

#include <fmt/core.h>

#include <exception>
#include <string>
#include <utility>

namespace nibble::jinja {

/// Inside the evaluator only; ChatTemplate turns it into a TemplateError with file and line.
class Raised : public std::exception {
 public:
  Raised(std::string type, std::string message)
      : type_(std::move(type)), message_(std::move(message)) {}

  const char* what() const noexcept override { return message_.c_str(); }
  const std::string& type() const { return type_; }  // "TypeError"
  const std::string& message() const { return message_; }

 private:
  std::string type_;
  std::string message_;
};

/// Throws Raised of `type` with the formatted message.
template <typename... Args>
[[noreturn]] void raise(const char* type, fmt::format_string<Args...> format, Args&&... args) {
  throw Raised(type, fmt::format(format, std::forward<Args>(args)...));
}

template <typename... Args>
[[noreturn]] void type_error(fmt::format_string<Args...> format, Args&&... args) {
  throw Raised("TypeError", fmt::format(format, std::forward<Args>(args)...));
}

template <typename... Args>
[[noreturn]] void value_error(fmt::format_string<Args...> format, Args&&... args) {
  throw Raised("ValueError", fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace nibble::jinja
