#include "nibble/bench/profile.h"

#include <algorithm>
#include <span>

#include "nibble/bench/bracket.h"
#include "nibble/bench/machine.h"
#include "nibble/bench/speed.h"
#include "nibble/core/error.h"
#include "nibble/core/stopwatch.h"

namespace nibble {
namespace {

void check_lengths(const ProfileOptions& options, const ModelSpec& spec) {
  const std::int64_t limit = options.context > 0 ? options.context : spec.context;
  if (options.prompt > limit || options.generate > limit - options.prompt) {
    fail("a prompt of {} tokens (-p) and {} new tokens (-n) are more than the context of {}",
         options.prompt, options.generate, limit);
  }
}

class ProfileTest {
 public:
  ProfileTest(Model& model, const ProfileOptions& options)
      : model_(model),
        prompt_(options.prompt),
        steps_(options.generate),
        cache_(model.make_cache(options.prompt + options.generate)),
        logits_(static_cast<std::size_t>(model.spec().vocab)),
        ids_(random_ids(cache_.capacity(), model.spec().vocab, options.seed)) {}

  /// Brings in the weights and every embedding row that will be looked up: those lie in the file.
  void warm_up() {
    run(0, std::ssize(ids_));
    model_.move_weights();
  }

  ProfiledPhase prefill() {
    return profile_passes(prompt_, 1, [&] {
      cache_.truncate(0);
      run(0, prompt_);
    });
  }

  /// After prefill().
  ProfiledPhase decode() {
    cache_.truncate(prompt_);
    return profile_passes(1, steps_, [&] { run(cache_.length(), 1); });
  }

 private:
  void run(std::int64_t first, std::int64_t count) {
    const auto ids =
        std::span(ids_).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count));
    model_.forward_last(ids, cache_, logits_.data());
  }

  ProfiledPhase profile_passes(std::int64_t tokens, std::int64_t count, FunctionRef<void()> pass) {
    ProfiledPhase phase{.tokens = tokens};
    const Stopwatch stopwatch;
    Profiler profiler;
    const ProfilerInUse in_use(model_.compute(), &profiler);
    for (std::int64_t i = 0; i < count; ++i) {
      const double start = stopwatch.microseconds();
      pass();
      phase.passes.push_back({start, stopwatch.microseconds() - start});
    }
    phase.runs = profiler.runs();
    return phase;
  }

  Model& model_;
  std::int64_t prompt_;
  std::int64_t steps_;
  KvCache cache_;
  std::vector<float> logits_;  // (vocab)
  std::vector<std::int32_t> ids_;
};

/// The last try counts if the bandwidth never held.
void profile_decode(Model& model, ProfileTest& test, ProfileReport& report) {
  MemoryReader reader(model.compute());
  double before = 0;
  double after = 0;
  const BracketedRuns runs = run_bracketed(
      1,
      [&] {
        before = after;
        return after = reader.measure();
      },
      [&] {
        report.decode = test.decode();
        return 1e3 * static_cast<double>(report.decode.passes.size()) / report.decode.total_ms();
      });
  report.read_bandwidth = (before + after) / 2;
  report.bandwidth_held = !runs.kept.empty();
}

}  // namespace

void measure_peak_of_products(Model& model, const ComputeOptions& compute, std::int64_t tokens,
                              ProfileReport& report) {
  const std::vector<ProductWork> work =
      prefill_work(model.checkpoint(), model.compute().kernels(), compute, tokens);
  const PeakKernel& peak =
      *std::max_element(work.begin(), work.end(), [](const ProductWork& a, const ProductWork& b) {
         return a.operations < b.operations;
       })->peak;
  report.peak = measure_peak(model.compute(), peak);
  report.instruction = peak.name;
}

ProfileReport profile(Model& model, const ComputeOptions& compute, const ProfileOptions& options) {
  check_lengths(options, model.spec());
  pin_threads(model.compute().pool());
  ProfileReport report;
  ProfileTest test(model, options);
  measure_peak_of_products(model, compute, options.prompt, report);
  test.warm_up();
  report.prefill = test.prefill();
  if (options.generate > 0) profile_decode(model, test, report);
  return report;
}

}  // namespace nibble
