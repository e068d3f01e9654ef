// nibble profile: where the time of prefill and decode goes, by operator and by layer.
#include "nibble/bench/profile.h"

#include <fmt/core.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "command.h"
#include "nibble/core/log.h"
#include "nibble/core/output.h"

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

struct PhaseHeading {
  const char* name;
  const char* amount;  // what the operators are measured by
  const char* rate;
  const char* limit;
};

void print_share(const std::string& name, double ms, double pass_ms) {
  fmt::print("{:<20} {:>8} {:>10.3f} {:>8.1f}\n", name, "", ms, 100 * ms / pass_ms);
}

/// One row an operator: how much it reads or computes, in 10^6 or 10^9, and at what rate.
void print_operator(const OperatorTotal& total, double pass_ms, double amount, double rate,
                    double limit) {
  fmt::print("{:<20} {:>8.0f} {:>10.3f} {:>8.1f}", total.name, total.calls, total.ms,
             100 * total.ms / pass_ms);
  if (amount > 0) {
    fmt::print(" {:>10.2f} {:>8.3g} {:>10.1f}\n", amount, rate, 100 * rate / limit);
  } else {
    fmt::print(" {:>10} {:>8} {:>10}\n", "-", "-", "-");
  }
}

void print_layers(const ProfiledPhase& phase, double pass_ms) {
  fmt::print("\n{:<20} {:>8} {:>10} {:>8}\n", "layer", "", "ms", "% time");
  for (const LayerTotal& total : layer_totals(phase)) {
    const std::string name = total.layer < 0 ? "outside the blocks" : std::to_string(total.layer);
    print_share(name, total.ms, pass_ms);
  }
  print_share("outside operators", outside_ms(phase), pass_ms);
}

/// Prints the head of the tables; gives the milliseconds of a pass.
double print_heading(const ProfiledPhase& phase, const PhaseHeading& heading) {
  const auto passes = static_cast<double>(phase.passes.size());
  const double pass_ms = phase.total_ms() / passes;
  fmt::print("\n{}: {} {} a pass, {} {}, {:.3f} ms a pass, {:.2f} tokens a second\n\n",
             heading.name, phase.tokens, phase.tokens == 1 ? "token" : "tokens",
             phase.passes.size(), phase.passes.size() == 1 ? "pass" : "passes", pass_ms,
             1e3 * static_cast<double>(phase.tokens) / pass_ms);
  fmt::print("{:<20} {:>8} {:>10} {:>8} {:>10} {:>8} {:>10}\n", "operator", "calls", "ms", "% time",
             heading.amount, heading.rate, heading.limit);
  return pass_ms;
}

void print_prefill(const ProfileReport& report) {
  const double pass_ms = print_heading(report.prefill, {"Prefill", "G op", "TOPS", "% of peak"});
  for (const OperatorTotal& total : operator_totals(report.prefill)) {
    print_operator(total, pass_ms, total.operations / 1e9, total.operations_per_second() / 1e12,
                   report.peak / 1e12);
  }
  print_share("outside operators", outside_ms(report.prefill), pass_ms);
  print_layers(report.prefill, pass_ms);
}

void print_decode(const ProfileReport& report) {
  const double pass_ms = print_heading(report.decode, {"Decode", "MB", "GB/s", "% of read"});
  for (const OperatorTotal& total : operator_totals(report.decode)) {
    print_operator(total, pass_ms, total.bytes / 1e6, total.bytes_per_second() / 1e9,
                   report.read_bandwidth / 1e9);
  }
  print_share("outside operators", outside_ms(report.decode), pass_ms);
  print_layers(report.decode, pass_ms);
}

void print_report(const ProfileFlags& flags, Model& model, const ProfileReport& report) {
  const int threads = model.compute().pool().size();
  const bool decoded = !report.decode.passes.empty();
  fmt::print("{}: {} activations, {} kernels, {} {}\n", flags.model, flags.compute.activations,
             model.compute().kernels().name, threads, threads == 1 ? "thread" : "threads");
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
    json["activations"] = flags.compute.activations;
    print_json(json);
  } else {
    print_report(flags, model, report);
  }
}

}  // namespace

void add_profile(CLI::App& app, CommonFlags& common, Action& action) {
  CLI::App* command = app.add_subcommand("profile", "Show where the time of a model goes");
  auto flags = std::make_shared<ProfileFlags>();
  add_model_argument(*command, flags->model);
  constexpr std::int64_t kMaxTokens = std::int64_t{1} << 30;
  command->add_option("-p,--prompt", flags->options.prompt, "Tokens of the prompt")
      ->check(in_range(1, kMaxTokens))
      ->capture_default_str();
  command
      ->add_option("-n,--generate", flags->options.generate,
                   "Steps of decode (0: leave decode out)")
      ->check(in_range(0, kMaxTokens))
      ->capture_default_str();
  command->add_option("--trace", flags->trace,
                      "Write a trace in Chrome's JSON format to this file");
  add_compute_flags(*command, flags->compute);
  add_common_flags(*command, common);
  set_example(*command, "nibble profile Llama-3.2-1B-w4 -p 512 --trace trace.json", kNotes);
  command->final_callback(
      [flags, &common, &action] { action = [flags, &common] { profile_model(*flags, common); }; });
}

}  // namespace nibble::cli
