#include "nibble/ops/profiler.h"

namespace nibble {

double Profiler::now_us() const {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - origin_)
      .count();
}

void Profiler::begin(const char* name) {
  runs_.push_back({.name = name, .layer = layer_, .start_us = now_us(), .duration_us = 0});
}

void Profiler::add_cost(double bytes, double operations) {
  if (runs_.empty()) return;
  runs_.back().bytes += bytes;
  runs_.back().operations += operations;
}

void Profiler::end() {
  runs_.back().duration_us = now_us() - runs_.back().start_us;
}

}  // namespace nibble
