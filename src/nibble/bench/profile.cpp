#include "nibble/bench/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <span>
#include <string_view>

#include "nibble/bench/bracket.h"
#include "nibble/bench/machine.h"
#include "nibble/bench/speed.h"
#include "nibble/core/error.h"
#include "nibble/core/log.h"

namespace nibble {
namespace {

using Clock = std::chrono::steady_clock;

double microseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

/// Sets a profiler for as long as it is in scope: a pass may end by an exception.
class ProfilerInUse {
 public:
  ProfilerInUse(Compute& compute, Profiler& profiler) : compute_(compute) {
    compute_.set_profiler(&profiler);
  }
  ~ProfilerInUse() { compute_.set_profiler(nullptr); }
  ProfilerInUse(const ProfilerInUse&) = delete;
  ProfilerInUse& operator=(const ProfilerInUse&) = delete;

 private:
  Compute& compute_;
};

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
        logits_(static_cast<std::size_t>(model.spec().vocab)) {
    std::mt19937_64 random(options.seed);
    const auto last = static_cast<std::int32_t>(model.spec().vocab - 1);
    std::uniform_int_distribution<std::int32_t> id(0, last);
    ids_.resize(static_cast<std::size_t>(cache_.capacity()));
    for (std::int32_t& value : ids_) value = id(random);
  }

  /// Brings in the weights and every embedding row that will be looked up: those lie in the file.
  void warm_up() {
    run(0, std::ssize(ids_));
    while (!model_.decoder().is_settled()) {
      cache_.truncate(0);
      run(0, 1);
    }
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
    const Clock::time_point origin = Clock::now();
    Profiler profiler;
    const ProfilerInUse in_use(model_.compute(), profiler);
    for (std::int64_t i = 0; i < count; ++i) {
      const double start = microseconds_since(origin);
      pass();
      phase.passes.push_back({start, microseconds_since(origin) - start});
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

Json operator_json(const OperatorTotal& total, const ProfileReport& report, double pass_ms) {
  Json json = {{"name", total.name},
               {"calls", total.calls},
               {"ms", total.ms},
               {"percent", 100 * total.ms / pass_ms},
               {"bytes", total.bytes},
               {"gbps", total.bytes_per_second() / 1e9},
               {"operations", total.operations},
               {"tops", total.operations_per_second() / 1e12},
               {"percent_of_peak", 100 * total.operations_per_second() / report.peak}};
  if (report.read_bandwidth > 0) {
    json["percent_of_bandwidth"] = 100 * total.bytes_per_second() / report.read_bandwidth;
  }
  return json;
}

Json phase_json(const ProfiledPhase& phase, const ProfileReport& report) {
  if (phase.passes.empty()) return nullptr;
  const double pass_ms = phase.total_ms() / static_cast<double>(phase.passes.size());
  Json operators = Json::array();
  for (const OperatorTotal& total : operator_totals(phase)) {
    operators.push_back(operator_json(total, report, pass_ms));
  }
  Json layers = Json::array();
  for (const LayerTotal& total : layer_totals(phase)) {
    layers.push_back({{"layer", total.layer < 0 ? Json(nullptr) : Json(total.layer)},
                      {"ms", total.ms},
                      {"percent", 100 * total.ms / pass_ms}});
  }
  const double outside = outside_ms(phase);
  return {{"tokens", phase.tokens},
          {"passes", phase.passes.size()},
          {"ms_per_pass", pass_ms},
          {"tokens_per_second", 1e3 * static_cast<double>(phase.tokens) / pass_ms},
          {"operators", std::move(operators)},
          {"outside_operators", {{"ms", outside}, {"percent", 100 * outside / pass_ms}}},
          {"layers", std::move(layers)}};
}

/// Writes the events of a trace; rows are threads of one process.
class TraceWriter {
 public:
  enum Row { kPasses = 1, kLayers, kOperators };

  void name_row(Row row, const char* name) {
    add({{"ph", "M"},
         {"pid", 1},
         {"tid", row},
         {"name", "thread_name"},
         {"args", {{"name", name}}}});
  }

  void add_phase(const ProfiledPhase& phase, const char* name, double offset_us) {
    for (const ProfiledPhase::Pass& pass : phase.passes) {
      add_event(kPasses, name, offset_us + pass.start_us, pass.duration_us,
                {{"tokens", phase.tokens}});
    }
    for (std::size_t i = 0; i < phase.runs.size();) i = add_layer(phase.runs, i, offset_us);
    for (const OperatorRun& run : phase.runs) {
      add_event(kOperators, run.name, offset_us + run.start_us, run.duration_us,
                {{"layer", run.layer}, {"bytes", run.bytes}, {"operations", run.operations}});
    }
  }

  std::string finish() && { return "{\"traceEvents\": [\n" + events_ + "\n]}\n"; }

 private:
  /// One event for the runs from `begin` that belong to one layer; gives the end of those.
  std::size_t add_layer(const std::vector<OperatorRun>& runs, std::size_t begin, double offset_us) {
    std::size_t end = begin + 1;
    while (end < runs.size() && runs[end].layer == runs[begin].layer) ++end;
    const OperatorRun& last = runs[end - 1];
    if (last.layer >= 0) {
      add_event(kLayers, fmt::format("layer {}", last.layer), offset_us + runs[begin].start_us,
                last.start_us + last.duration_us - runs[begin].start_us, Json::object());
    }
    return end;
  }

  void add_event(Row row, const std::string& name, double start_us, double duration_us, Json args) {
    add({{"ph", "X"},
         {"pid", 1},
         {"tid", row},
         {"name", name},
         {"ts", start_us},
         {"dur", duration_us},
         {"args", std::move(args)}});
  }

  void add(const Json& event) {
    if (!events_.empty()) events_ += ",\n";
    events_ += event.dump();
  }

  std::string events_;
};

}  // namespace

double ProfiledPhase::total_ms() const {
  double us = 0;
  for (const Pass& pass : passes) us += pass.duration_us;
  return us / 1e3;
}

ProfileReport profile(Model& model, const ComputeOptions& compute, const ProfileOptions& options) {
  check_lengths(options, model.spec());
  if (!pin_threads(model.compute().pool())) {
    warn("more threads than cores: not pinned, so that figures will scatter");
  }
  ProfileReport report;
  ProfileTest test(model, options);
  measure_peak_of_products(model, compute, options.prompt, report);
  test.warm_up();
  report.prefill = test.prefill();
  if (options.generate > 0) profile_decode(model, test, report);
  return report;
}

std::vector<OperatorTotal> operator_totals(const ProfiledPhase& phase) {
  std::vector<OperatorTotal> totals;
  for (const OperatorRun& run : phase.runs) {
    const auto same = [&](const OperatorTotal& total) { return total.name == run.name; };
    auto total = std::find_if(totals.begin(), totals.end(), same);
    if (total == totals.end()) total = totals.insert(totals.end(), {.name = run.name});
    total->calls += 1;
    total->ms += run.duration_us / 1e3;
    total->bytes += run.bytes;
    total->operations += run.operations;
  }
  for (OperatorTotal& total : totals) {
    for (double* sum : {&total.calls, &total.ms, &total.bytes, &total.operations}) {
      *sum /= static_cast<double>(phase.passes.size());
    }
  }
  return totals;
}

std::vector<LayerTotal> layer_totals(const ProfiledPhase& phase) {
  std::map<std::int64_t, double> us;
  for (const OperatorRun& run : phase.runs) us[run.layer] += run.duration_us;
  std::vector<LayerTotal> totals;
  for (const auto& [layer, sum] : us) {
    totals.push_back({layer, sum / 1e3 / static_cast<double>(phase.passes.size())});
  }
  if (!totals.empty() && totals.front().layer < 0) {
    std::rotate(totals.begin(), totals.begin() + 1, totals.end());
  }
  return totals;
}

double outside_ms(const ProfiledPhase& phase) {
  double inside_us = 0;
  for (const OperatorRun& run : phase.runs) inside_us += run.duration_us;
  return (phase.total_ms() - inside_us / 1e3) / static_cast<double>(phase.passes.size());
}

Json profile_json(const ProfileReport& report) {
  const bool decoded = !report.decode.passes.empty();
  return {{"peak_tops", report.peak / 1e12},
          {"instruction", report.instruction},
          {"read_gbps", decoded ? Json(report.read_bandwidth / 1e9) : Json(nullptr)},
          {"bandwidth_held", decoded ? Json(report.bandwidth_held) : Json(nullptr)},
          {"prefill", phase_json(report.prefill, report)},
          {"decode", phase_json(report.decode, report)}};
}

std::string chrome_trace(const ProfileReport& report) {
  TraceWriter writer;
  writer.name_row(TraceWriter::kPasses, "passes");
  writer.name_row(TraceWriter::kLayers, "layers");
  writer.name_row(TraceWriter::kOperators, "operators");
  writer.add_phase(report.prefill, "prefill", 0);
  const auto& passes = report.prefill.passes;
  const double end = passes.empty() ? 0 : passes.back().start_us + passes.back().duration_us;
  writer.add_phase(report.decode, "decode", end);
  return std::move(writer).finish();
}

}  // namespace nibble
