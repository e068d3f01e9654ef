// Errors about texts from files, which can be anything: megabytes, or control characters.
#pragma once

#include <fmt/core.h>

#include <concepts>
#include <string>
#include <string_view>
#include <utility>

#include "nibble/core/error.h"

namespace nibble {

/// `text` fit for one line: control characters become '?', more than 300 bytes are cut off.
std::string printable(std::string_view text);

template <typename T>
decltype(auto) printable_argument(const T& value) {
  if constexpr (std::convertible_to<const T&, std::string_view>) {
    return printable(value);
  } else {
    return (value);
  }
}

/// fail() with every text made printable.
template <typename... Args>
[[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(
      fmt::vformat(fmt::string_view(format), fmt::make_format_args(printable_argument(args)...)));
}

}  // namespace nibble
