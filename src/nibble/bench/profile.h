// Where the time of a model goes: a prompt and some steps of decode, each operator timed, and what
// that is of the machine's read bandwidth and arithmetic peak.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nibble/bench/latency.h"
#include "nibble/core/json.h"
#include "nibble/ops/profiler.h"
#include "nibble/runtime/model.h"

namespace nibble {

struct ProfileOptions {
  std::int64_t prompt = 512;   // tokens, at least 1
  std::int64_t generate = 32;  // steps of decode after the prompt; 0 leaves decode out
  std::int64_t context = 0;    // positions allowed; 0: the model's
  std::uint64_t seed = 0;      // of the token ids
};

/// Forward passes of one kind: the prompt, or steps of decode.
struct ProfiledPhase {
  struct Pass {
    double start_us;
    double duration_us;
  };

  std::int64_t tokens = 0;  // of a pass
  std::vector<Pass> passes;
  std::vector<OperatorRun> runs;  // of all passes

  /// Milliseconds of all passes together, time outside operators included.
  double total_ms() const;
};

struct ProfileReport {
  ProfiledPhase prefill;
  ProfiledPhase decode;         // no passes if decode was left out
  double peak = 0;              // operations a second
  std::string instruction;      // whose peak that is: what most of the matrix products use
  double read_bandwidth = 0;    // bytes a second: mean of the readings before and after decode
  bool bandwidth_held = false;  // those two agree
};

/// Measures. Pins the threads of the model, the calling one too, where there is a core for each.
/// Decode is measured again, up to five times in all, while the bandwidth changes under it. Throws
/// Error if prompt and steps are longer than the context.
ProfileReport profile(Model& model, const ComputeOptions& compute, const ProfileOptions& options);

/// The peak of the instruction that most of the products of a prompt of `tokens` use, into
/// `report`.
void measure_peak_of_products(Model& model, const ComputeOptions& compute, std::int64_t tokens,
                              ProfileReport& report);

/// A completion that was timed with its operators, as phases: its first forward pass, and those of
/// the tokens after it, from the start of the first operator of each to the end of the last.
struct CompletionPhases {
  ProfiledPhase prefill;
  ProfiledPhase decode;
};
CompletionPhases phases_of(const LatencyRow& row);

/// All runs of an operator, as parts of one pass.
struct OperatorTotal {
  std::string name;
  double calls = 0;
  double ms = 0;
  double bytes = 0;       // of weights, keys and values read
  double operations = 0;  // of products, 2 a multiply-add

  double bytes_per_second() const { return ms > 0 ? bytes / (ms / 1e3) : 0; }
  double operations_per_second() const { return ms > 0 ? operations / (ms / 1e3) : 0; }
};

/// In the order in which they run first.
std::vector<OperatorTotal> operator_totals(const ProfiledPhase& phase);

/// The operators of a decoder block, as parts of one pass.
struct LayerTotal {
  std::int64_t layer;  // -1: what is outside the blocks
  double ms = 0;
};

/// By number, what is outside the blocks last.
std::vector<LayerTotal> layer_totals(const ProfiledPhase& phase);

/// Milliseconds of a pass that no operator accounts for.
double outside_ms(const ProfiledPhase& phase);

/// The fields "prefill" and "decode" (null if left out), and what was measured of the machine.
Json profile_json(const ProfileReport& report);

/// The passes, layers and operators as complete events in the JSON object format that
/// chrome://tracing and Perfetto read, a row ("thread") each; decode comes right after prefill.
/// Source: "Trace Event Format" (the Chromium project).
std::string chrome_trace(const ProfileReport& report);

}  // namespace nibble
