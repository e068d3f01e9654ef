// nibble profile: where the time of prefill and decode goes, by operator and by layer.
#include "nibble/bench/profile.h"

#include <fmt/core.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "command.h"
#include "nibble/core/log.h"
#include "nibble/core/output.h"
#include "table.h"

namespace nibble::cli {
namespace {

constexpr const char kNotes[] =
    "One prompt of random tokens, then steps of decode after it. Times and sizes are\n"
    "those of one pass: the whole prompt, or one step. GB/s count the weights, keys\n"
    "and values that an operator reads, beside the read bandwidth measured before and\n"
    "after decode; TOPS count its products, 2 for a multiply-add, beside the measured\n"
    "peak of the instruction that most of them use. What lies in the cache can be\n"
    "read faster than memory. The norm before a layer counts with it.\n\n"
    "--trace writes every pass, layer and operator for chrome://tracing or Perfetto.";

struct ProfileFlags {
  std::string model;
  std::string trace;
  ComputeFlags compute;
  ProfileOptions options;
};

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

void print_report(const ProfileFlags& flags, Model& model, const ProfileReport& report) {
  const int threads = model.compute().pool().size();
  const bool decoded = !report.decode.passes.empty();
  fmt::print("{}: {} activations, {} kernels, {} {}\n", flags.model,
             activation_type_name(model.activations()), model.compute().kernels().name, threads,
             threads == 1 ? "thread" : "threads");
  fmt::print("peak {:.3f} TOPS of {}", report.peak / 1e12, report.instruction);
  if (decoded) fmt::print("; read bandwidth {:.1f} GB/s", report.read_bandwidth / 1e9);
  fmt::print("\n");
  print_prefill(report);
  if (decoded) print_decode(report);
}

void profile_model(const ProfileFlags& flags, const CommonFlags& common) {
  std::optional<OutputFile> trace;  // opened first: what cannot be written costs no measurement
  if (!flags.trace.empty()) trace.emplace(flags.trace);
  const ComputeOptions compute = flags.compute.options();
  ProfileOptions options = flags.options;
  options.context = flags.compute.context;
  options.seed = common.seed;
  ThreadPool pool(common.threads);
  Model model(locate_model(flags.model), pool, compute);
  const ProfileReport report = profile(model, compute, options);
  if (options.generate > 0 && !report.bandwidth_held) {
    warn("the memory bandwidth of this machine is too unsteady: it changed during decode");
  }
  if (trace) {
    trace->write(chrome_trace(report));
    trace->commit();
  }
  if (common.json) {
    Json json = profile_json(report);
    json["model"] = flags.model;
    json["kernels"] = model.compute().kernels().name;
    json["threads"] = model.compute().pool().size();
    json["activations"] = activation_type_name(model.activations());
    print_json(json);
  } else {
    print_report(flags, model, report);
  }
}

}  // namespace

void add_profile(CommandLine& line, CommonFlags& common) {
  const Command command = line.add_command("profile", "Show where the time of a model goes");
  auto flags = std::make_shared<ProfileFlags>();
  add_model_argument(command, flags->model);
  constexpr std::int64_t kMaxTokens = std::int64_t{1} << 30;
  command.add("-p,--prompt", flags->options.prompt, "Tokens of the prompt")
      .in_range(1, kMaxTokens)
      .show_default();
  command.add("-n,--generate", flags->options.generate, "Steps of decode (0: leave decode out)")
      .in_range(0, kMaxTokens)
      .show_default();
  command.add("--trace", flags->trace, "Write a trace in Chrome's JSON format to this file");
  add_compute_flags(command, flags->compute);
  add_common_flags(command, common);
  command.set_example("nibble profile Llama-3.2-1B-w4 -p 512 --trace trace.json", kNotes);
  command.set_action([flags, &common] { profile_model(*flags, common); });
}

}  // namespace nibble::cli
