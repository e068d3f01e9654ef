#include "nibble/core/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>

#include "nibble/core/progress.h"

namespace nibble {
namespace {

spdlog::logger& logger() {
  static const std::shared_ptr<spdlog::logger> instance = [] {
    auto sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
    auto made = std::make_shared<spdlog::logger>("nibble", sink);
    made->set_pattern("nibble: %v");
    return made;
  }();
  return *instance;
}

}  // namespace

void set_log_level(LogLevel level) {
  logger().set_level(level == LogLevel::kQuiet    ? spdlog::level::err
                     : level == LogLevel::kNormal ? spdlog::level::warn
                                                  : spdlog::level::debug);
}

std::string one_line(std::string_view text) {
  std::string line;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n') {
      line += "\\n";
    } else if (byte < 0x20 || byte == 0x7f) {
      line += fmt::format("\\x{:02x}", byte);
    } else {
      line += c;
    }
  }
  return line;
}

void log_message(LogLevel level, std::string_view text) {
  const auto wanted = level == LogLevel::kVerbose ? spdlog::level::debug : spdlog::level::warn;
  if (!logger().should_log(wanted)) return;
  hide_progress();
  logger().log(wanted, one_line(text));
}

}  // namespace nibble
