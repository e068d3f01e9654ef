// The one exception type for whatever comes from outside: files, flags, texts, requests.
// The message names the file, tensor or flag, what was expected and what was found, in one line.
// Programmer errors are asserts; nothing in the library aborts or exits.
#pragma once

#include <fmt/core.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace nibble {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Throws Error with the formatted message.
template <typename... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace nibble
