// A profile summed up by operator and by layer, and as JSON.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "nibble/bench/profile.h"

namespace nibble {
namespace {

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

}  // namespace

double ProfiledPhase::total_ms() const {
  double us = 0;
  for (const Pass& pass : passes) us += pass.duration_us;
  return us / 1e3;
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

}  // namespace nibble
