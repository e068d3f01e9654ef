// Messages to the user on standard error: remarks and warnings, never results.
#pragma once

#include <fmt/core.h>

#include <string>
#include <string_view>
#include <utility>

namespace nibble {

enum class LogLevel { kQuiet, kNormal, kVerbose };

/// What is shown: nothing but errors (-q), remarks and warnings (default), details too (-v).
void set_log_level(LogLevel level);

/// `text` in one line: control characters, which may stand in any name or value out of a file, as
/// escapes.
std::string one_line(std::string_view text);

void log_message(LogLevel level, std::string_view text);

/// Something the user should know about: a fallback taken, a setting ignored.
template <typename... Args>
void warn(fmt::format_string<Args...> format, Args&&... args) {
  log_message(LogLevel::kNormal, fmt::format(format, std::forward<Args>(args)...));
}

/// A detail for those who ask with -v.
template <typename... Args>
void verbose(fmt::format_string<Args...> format, Args&&... args) {
  log_message(LogLevel::kVerbose, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace nibble
