// The operators of a completion, put to its passes.
#include <algorithm>
#include <string_view>

#include "nibble/bench/profile.h"

namespace nibble {
namespace {

/// What every pass begins with (models/decoder.cpp).
constexpr std::string_view kFirst = "embedding";

ProfiledPhase phase_of(std::span<const OperatorRun> runs, std::int64_t tokens) {
  return {.tokens = tokens, .passes = {}, .runs = {runs.begin(), runs.end()}};
}

}  // namespace

CompletionPhases phases_of(const LatencyRow& row) {
  const std::span<const OperatorRun> runs = row.operators;
  std::vector<std::size_t> starts;  // of passes; a long prompt has several
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (runs[i].name == kFirst) starts.push_back(i);
  }
  const auto steps = static_cast<std::size_t>(std::max<std::int64_t>(row.new_tokens - 1, 0));
  if (starts.size() <= steps) return {};
  const std::size_t first_step = steps == 0 ? runs.size() : starts[starts.size() - steps];
  CompletionPhases phases{.prefill = phase_of(runs.first(first_step), row.prompt_tokens),
                          .decode = phase_of(runs.subspan(first_step), 1)};
  phases.prefill.passes.push_back({runs[0].start_us, 1e3 * row.prefill_ms});
  starts.push_back(runs.size());
  for (std::size_t i = starts.size() - 1 - steps; i + 1 < starts.size(); ++i) {
    const OperatorRun& last = runs[starts[i + 1] - 1];
    const double start = runs[starts[i]].start_us;
    phases.decode.passes.push_back({start, last.start_us + last.duration_us - start});
  }
  return phases;
}

}  // namespace nibble
