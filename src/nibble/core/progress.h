// A progress bar on standard error, with rate and time left. It shows itself only on a terminal and
// only for work that takes longer than a moment.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace nibble {

/// Whether progress bars may be shown at all (set once by the command: -q switches them off).
void set_progress_enabled(bool enabled);

/// Takes the bar off the screen, if there is one, before something else is written to the terminal;
/// it comes back as work advances.
void hide_progress();

class Progress {
 public:
  /// `label` is what is being done ("quantizing"), `total` how many `unit`s it has ("B" prints as
  /// KiB, MiB ..., others as k, M ...).
  Progress(std::string label, std::int64_t total, std::string unit);
  ~Progress();  // hides the bar
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// More of the total is done. Cheap: redraws at most ten times a second.
  void advance(std::int64_t amount);
  /// A short remark shown behind the bar ("perplexity 21.10").
  void set_note(std::string note);

 private:
  void draw();

  using Clock = std::chrono::steady_clock;
  std::string label_;
  std::string unit_;
  std::string note_;
  std::int64_t total_;
  std::int64_t done_ = 0;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_draw_ = start_;
  bool shown_ = false;
  bool enabled_;
};

/// "1.2 GiB", "340.0 MiB", "12 B".
std::string human_bytes(double bytes);
/// "1.2 G", "340.0 M", "12.0".
std::string human_count(double count);

}  // namespace nibble
