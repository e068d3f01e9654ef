#include "nibble/runtime/stop_filter.h"

#include <algorithm>

namespace nibble {
namespace {

/// Length of the longest proper prefix of `stop` that `text` ends with.
std::size_t overlap(std::string_view text, std::string_view stop) {
  std::size_t length = std::min(text.size(), stop.size() - 1);
  while (length > 0 && text.substr(text.size() - length) != stop.substr(0, length)) --length;
  return length;
}

}  // namespace

StopFilter::StopFilter(const std::vector<std::string>& stops) {
  for (const std::string& stop : stops) {
    if (!stop.empty()) stops_.push_back(stop);
  }
}

std::string StopFilter::push(std::string_view text, bool hidden) {
  if (stopped_) return "";
  held_ += text;
  hidden_.resize(held_.size(), hidden);
  if (const std::size_t begin = find_stop(); begin != std::string::npos) {
    stopped_ = true;
    std::string out = take(begin);
    take(held_.size());
    return out;
  }
  std::size_t keep = 0;
  for (const std::string& stop : stops_) keep = std::max(keep, overlap(held_, stop));
  return take(held_.size() - keep);
}

std::string StopFilter::take(std::size_t count) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i) {
    if (!hidden_[i]) out += held_[i];
  }
  held_.erase(0, count);
  hidden_.erase(hidden_.begin(), hidden_.begin() + static_cast<std::ptrdiff_t>(count));
  return out;
}

std::size_t StopFilter::find_stop() const {
  std::size_t begin = std::string::npos;
  std::size_t end = std::string::npos;
  for (const std::string& stop : stops_) {
    const std::size_t found = held_.find(stop);
    if (found == std::string::npos) continue;
    const std::size_t found_end = found + stop.size();
    if (found_end < end || (found_end == end && found < begin)) {
      begin = found;
      end = found_end;
    }
  }
  return begin;
}

std::string StopFilter::finish() {
  return take(held_.size());
}

}  // namespace nibble
