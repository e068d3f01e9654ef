#include "nibble/core/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <utility>

namespace nibble {
namespace {

bool progress_enabled = true;
bool bar_on_screen = false;

int terminal_columns() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

std::string duration(double seconds) {
  const auto whole = static_cast<long>(std::lround(seconds));
  if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

}  // namespace

void set_progress_enabled(bool enabled) {
  progress_enabled = enabled;
}

void hide_progress() {
  if (bar_on_screen) std::fputs("\r\x1b[K", stderr);
  bar_on_screen = false;
}

std::string human_bytes(double bytes) {
  static constexpr std::array kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  while (bytes >= 1024.0 && unit + 1 < kUnits.size()) {
    bytes /= 1024.0;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", bytes, unit == 0 ? 0 : 1, kUnits[unit]);
}

std::string human_count(double count) {
  static constexpr std::array kPrefixes = {"", " k", " M", " G", " T"};
  std::size_t prefix = 0;
  while (count >= 1000.0 && prefix + 1 < kPrefixes.size()) {
    count /= 1000.0;
    ++prefix;
  }
  return fmt::format("{:.1f}{}", count, kPrefixes[prefix]);
}

Progress::Progress(std::string label, std::int64_t total, std::string unit)
    : label_(std::move(label)),
      unit_(std::move(unit)),
      total_(std::max<std::int64_t>(total, 1)),
      enabled_(progress_enabled && ::isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  hide_progress();
}

void Progress::advance(std::int64_t amount) {
  done_ += amount;
  const Clock::time_point now = Clock::now();
  if (!enabled_ || now - last_draw_ < std::chrono::milliseconds(shown_ ? 100 : 500)) return;
  last_draw_ = now;
  draw();
}

void Progress::set_note(std::string note) {
  note_ = std::move(note);
}

void Progress::draw() {
  const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  const double rate = static_cast<double>(done_) / std::max(seconds, 1e-9);
  const double share = std::min(1.0, static_cast<double>(done_) / static_cast<double>(total_));
  const double left = static_cast<double>(total_ - done_) / std::max(rate, 1e-9);
  const std::string speed =
      unit_ == "B" ? human_bytes(rate) + "/s" : human_count(rate) + " " + unit_ + "/s";
  constexpr int kBar = 24;
  const int filled = static_cast<int>(share * kBar);
  std::string line =
      fmt::format("{} [{:=<{}}{:<{}}] {:3.0f} %  {}  {} left", label_, "", filled, "",
                  kBar - filled, share * 100, speed, duration(std::max(0.0, left)));
  if (!note_.empty()) line += "  " + note_;
  line.resize(std::min(line.size(), static_cast<std::size_t>(terminal_columns() - 1)));
  fmt::print(stderr, "\r{}\x1b[K", line);
  std::fflush(stderr);
  shown_ = true;
  bar_on_screen = true;
}

}  // namespace nibble
