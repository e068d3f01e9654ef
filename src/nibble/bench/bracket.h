// Speeds measured on a machine whose memory bandwidth changes by itself: each run stands between
// two readings of the bandwidth and counts only if they agree.
#pragma once

#include <vector>

#include "nibble/core/function_ref.h"

namespace nibble {

struct BracketedRun {
  double read_before = 0;  // bytes a second
  double read_after = 0;
  double speed = 0;  // what the run measured: tokens a second

  double reading() const { return (read_before + read_after) / 2; }
};

struct BracketedRuns {
  std::vector<BracketedRun> kept;
  int dropped = 0;
};

/// Repeats reading, run, reading until `wanted` runs are kept, at most 5 * wanted times. A run is
/// kept if the larger of its readings is at most 10 % above the smaller.
BracketedRuns run_bracketed(int wanted, FunctionRef<double()> reading, FunctionRef<double()> run);

}  // namespace nibble
