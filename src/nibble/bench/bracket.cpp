#include "nibble/bench/bracket.h"

#include <algorithm>

#include "nibble/core/log.h"

namespace nibble {
namespace {

constexpr double kAgreement = 1.1;
constexpr int kMaxTriesPerRun = 5;

bool readings_agree(const BracketedRun& run) {
  const auto [low, high] = std::minmax(run.read_before, run.read_after);
  return high <= kAgreement * low;
}

}  // namespace

BracketedRuns run_bracketed(int wanted, FunctionRef<double()> reading, FunctionRef<double()> run) {
  BracketedRuns runs;
  const auto kept = [&] { return static_cast<int>(runs.kept.size()); };
  while (kept() < wanted && kept() + runs.dropped < kMaxTriesPerRun * wanted) {
    BracketedRun one;
    one.read_before = reading();
    one.speed = run();
    one.read_after = reading();
    const bool keep = readings_agree(one);
    verbose("{:.2f} a second between readings of {:.1f} and {:.1f} GB/s: {}", one.speed,
            one.read_before / 1e9, one.read_after / 1e9, keep ? "kept" : "dropped");
    if (keep) {
      runs.kept.push_back(one);
    } else {
      ++runs.dropped;
    }
  }
  return runs;
}

}  // namespace nibble
