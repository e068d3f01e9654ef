#include "profile_tables.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "command.h"

namespace nibble::cli {
namespace {

void add_share(Table& table, const std::string& name, double ms, double pass_ms) {
  table.add_row({name, "", {ms, 3}, {100 * ms / pass_ms, 1}});
}

/// One row an operator: how much it reads or computes, in 10^6 or 10^9, and at what rate.
void add_operator(Table& table, const OperatorTotal& total, double pass_ms, double amount,
                  double rate, double limit) {
  std::vector<TableCell> cells = {
      total.name, {total.calls, 0}, {total.ms, 3}, {100 * total.ms / pass_ms, 1}};
  if (amount > 0) {
    cells.insert(cells.end(),
                 {{amount, 2}, {rate, fmt::format("{:.3g}", rate)}, {100 * rate / limit, 1}});
  } else {
    cells.insert(cells.end(), 3, TableCell::nothing("-"));
  }
  table.add_row(std::move(cells));
}

void print_layers(const ProfiledPhase& phase, double pass_ms) {
  Table table({{"layer", "layer", TableColumn::Align::kLeft, 20},
               {.title = "", .key = "calls", .min_width = 8},
               {.title = "ms", .key = "ms", .min_width = 10},
               {.title = "% time", .key = "percent_of_time", .min_width = 8}});
  for (const LayerTotal& total : layer_totals(phase)) {
    const std::string name = total.layer < 0 ? "outside the blocks" : std::to_string(total.layer);
    add_share(table, name, total.ms, pass_ms);
  }
  add_share(table, "outside operators", outside_ms(phase), pass_ms);
  fmt::print("\n{}", table.text());
}

/// Prints the head of the tables; gives the milliseconds of a pass.
double print_heading(const ProfiledPhase& phase, const char* name) {
  const auto passes = static_cast<double>(phase.passes.size());
  const double pass_ms = phase.total_ms() / passes;
  fmt::print("\n{}: {} {} a pass, {} {}, {:.3f} ms a pass, {:.2f} tokens a second\n\n", name,
             phase.tokens, phase.tokens == 1 ? "token" : "tokens", phase.passes.size(),
             phase.passes.size() == 1 ? "pass" : "passes", pass_ms,
             1e3 * static_cast<double>(phase.tokens) / pass_ms);
  return pass_ms;
}

/// `amount`, `rate` and `limit` are what the operators are measured by.
Table operator_table(TableColumn amount, TableColumn rate, TableColumn limit) {
  return Table({{"operator", "operator", TableColumn::Align::kLeft, 20},
                {.title = "calls", .key = "calls", .min_width = 8},
                {.title = "ms", .key = "ms", .min_width = 10},
                {.title = "% time", .key = "percent_of_time", .min_width = 8},
                std::move(amount),
                std::move(rate),
                std::move(limit)});
}

void print_prefill(const ProfileReport& report) {
  const double pass_ms = print_heading(report.prefill, "Prefill");
  Table table = operator_table({.title = "G op", .key = "giga_operations", .min_width = 10},
                               {.title = "TOPS", .key = "tops", .min_width = 8},
                               {.title = "% of peak", .key = "percent_of_peak", .min_width = 10});
  for (const OperatorTotal& total : operator_totals(report.prefill)) {
    add_operator(table, total, pass_ms, total.operations / 1e9,
                 total.operations_per_second() / 1e12, report.peak / 1e12);
  }
  add_share(table, "outside operators", outside_ms(report.prefill), pass_ms);
  fmt::print("{}", table.text());
  print_layers(report.prefill, pass_ms);
}

void print_decode(const ProfileReport& report) {
  const double pass_ms = print_heading(report.decode, "Decode");
  Table table = operator_table({.title = "MB", .key = "megabytes", .min_width = 10},
                               {.title = "GB/s", .key = "gigabytes_per_second", .min_width = 8},
                               {.title = "% of read", .key = "percent_of_read", .min_width = 10});
  for (const OperatorTotal& total : operator_totals(report.decode)) {
    add_operator(table, total, pass_ms, total.bytes / 1e6, total.bytes_per_second() / 1e9,
                 report.read_bandwidth / 1e9);
  }
  add_share(table, "outside operators", outside_ms(report.decode), pass_ms);
  fmt::print("{}", table.text());
  print_layers(report.decode, pass_ms);
}

}  // namespace

void print_profile(const std::string& name, Model& model, const ProfileReport& report) {
  const int threads = model.compute().pool().size();
  const bool decoded = !report.decode.passes.empty();
  fmt::print("{}: {} activations, {} kernels, {} {}\n", name,
             activation_type_name(model.activations()), model.compute().kernels().name, threads,
             threads == 1 ? "thread" : "threads");
  fmt::print("peak {:.3f} TOPS of {}", report.peak / 1e12, report.instruction);
  if (decoded) fmt::print("; read bandwidth {:.1f} GB/s", report.read_bandwidth / 1e9);
  fmt::print("\n");
  print_prefill(report);
  if (decoded) print_decode(report);
}

Table product_table(const std::vector<LatencyRow>& rows) {
  Table table({{"Example#", "example"},
               {"Operator", "operator", TableColumn::Align::kLeft},
               {"Calls", "calls"},
               {"Prompt (ms)", "prompt_ms"},
               {"Prompt (TOPS)", "prompt_tops"},
               {"Token (ms)", "token_ms"},
               {"Token (GB/s)", "token_gbps"}},
              2);
  std::int64_t example = 0;
  for (const LatencyRow& row : rows) {
    ++example;
    const CompletionPhases phases = phases_of(row);
    const std::vector<OperatorTotal> steps = operator_totals(phases.decode);
    for (const OperatorTotal& prompt : operator_totals(phases.prefill)) {
      if (prompt.operations == 0 || prompt.name == "attention") continue;
      std::vector<TableCell> cells = {example,
                                      prompt.name,
                                      {prompt.calls, 0},
                                      {prompt.ms, 3},
                                      {prompt.operations_per_second() / 1e12, 3}};
      const auto step = std::find_if(steps.begin(), steps.end(), [&](const OperatorTotal& total) {
        return total.name == prompt.name;
      });
      if (step != steps.end()) {
        cells.insert(cells.end(), {{step->ms, 3}, {step->bytes_per_second() / 1e9, 1}});
      }
      table.add_row(std::move(cells));
    }
  }
  return table;
}

Table layer_table(const std::vector<LatencyRow>& rows) {
  Table table({{"Example#", "example"},
               {"Layer", "layer", TableColumn::Align::kLeft},
               {"Prompt (ms)", "prompt_ms"},
               {"Token (ms)", "token_ms"}},
              2);
  std::int64_t example = 0;
  for (const LatencyRow& row : rows) {
    ++example;
    const CompletionPhases phases = phases_of(row);
    const std::vector<LayerTotal> steps = layer_totals(phases.decode);
    const std::vector<LayerTotal> prompt = layer_totals(phases.prefill);
    for (std::size_t i = 0; i < prompt.size(); ++i) {
      std::vector<TableCell> cells = {
          example, prompt[i].layer < 0 ? "outside" : std::to_string(prompt[i].layer),
          TableCell(prompt[i].ms, 3)};
      if (i < steps.size()) cells.emplace_back(steps[i].ms, 3);
      table.add_row(std::move(cells));
    }
  }
  return table;
}

}  // namespace nibble::cli
