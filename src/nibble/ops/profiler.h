// Where a pass spends its time: layers name the operator under way, operators add what it reads and
// computes. Off (no profiler set in Compute) it costs a test of a pointer.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include "nibble/ops/compute.h"

namespace nibble {

/// One run of an operator.
struct OperatorRun {
  const char* name;    // "q k v", "attention" ...
  std::int64_t layer;  // -1 outside the decoder blocks
  double start_us;     // since the profiler was made
  double duration_us;
  double bytes = 0;       // of weights, keys and values read
  double operations = 0;  // 2 for a multiply-add
};

class Profiler {
 public:
  /// The runs that follow belong to block `layer`, or to none (-1).
  void set_layer(std::int64_t layer) { layer_ = layer; }
  void begin(const char* name);
  void add_cost(double bytes, double operations);
  void end();

  const std::vector<OperatorRun>& runs() const { return runs_; }

 private:
  double now_us() const;

  std::chrono::steady_clock::time_point origin_ = std::chrono::steady_clock::now();
  std::int64_t layer_ = -1;
  std::vector<OperatorRun> runs_;  // the last one is under way between begin() and end()
};

/// Sets a profiler, or none, for as long as it is in scope: a pass may end by an exception.
class ProfilerInUse {
 public:
  ProfilerInUse(Compute& compute, Profiler* profiler)
      : compute_(compute), before_(compute.profiler()) {
    if (profiler != nullptr) compute_.set_profiler(profiler);
  }
  ~ProfilerInUse() { compute_.set_profiler(before_); }
  ProfilerInUse(const ProfilerInUse&) = delete;
  ProfilerInUse& operator=(const ProfilerInUse&) = delete;

 private:
  Compute& compute_;
  Profiler* before_;
};

/// Times what happens in its scope as one run of an operator.
class ProfileScope {
 public:
  ProfileScope(Compute& compute, const char* name) : profiler_(compute.profiler()) {
    if (profiler_ != nullptr) profiler_->begin(name);
  }
  ~ProfileScope() {
    if (profiler_ != nullptr) profiler_->end();
  }
  ProfileScope(const ProfileScope&) = delete;
  ProfileScope& operator=(const ProfileScope&) = delete;

 private:
  Profiler* profiler_;
};

}  // namespace nibble
