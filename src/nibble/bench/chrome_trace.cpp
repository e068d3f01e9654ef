// A profile as a trace for chrome://tracing and Perfetto.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "nibble/bench/profile.h"

namespace nibble {
namespace {

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
