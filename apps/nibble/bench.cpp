// nibble bench: the speed of prefill and decode, and its share of what the machine allows.
#include <fmt/core.h>

#include <cmath>
#include <initializer_list>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "command.h"
#include "latency.h"
#include "nibble/bench/speed.h"
#include "nibble/core/log.h"
#include "nibble/core/process.h"
#include "nibble/core/progress.h"
#include "nibble/models/token_cost.h"
#include "table.h"

namespace nibble::cli {
namespace {

constexpr const char kBenchNotes[] =
    "Prefill is a prompt of random tokens in one go. Its limit: the operations of\n"
    "the matrix products (2 x weights of all linear layers x tokens, and of the head\n"
    "for the one row whose logits are computed) at the measured peak of the\n"
    "instruction used.\n\n"
    "Decode is tokens one by one, from a context of {} tokens. Each run stands\n"
    "between two readings of 1 GiB of memory with the same threads and is kept if\n"
    "they agree within 10 %; up to 5 r runs are made until r are kept. Its limit: the\n"
    "mean of the two readings / the bytes of weights read for a token (a model that\n"
    "fits in the cache can be above it).\n\n"
    "With --sequences N, decode of N sequences at once, tokens a second in all. Its\n"
    "limit: the lower of N times the rate of one sequence and the rate of prefill,\n"
    "both measured before and after each run.\n\n"
    "At first are the first {} tokens (or n) of this process, before anything else\n"
    "ran: weights come in from the file, and may be on the way to quicker memory.\n\n"
    "Peak memory leaves out the memory of the readings.\n\n"
    "--task prints a latency table in place of all that: decode completes ten short\n"
    "prompts; benchmark (4 to 256 tokens), benchmark_long (512 to 4000),\n"
    "benchmark_exact (128 to 2048) and benchmark_long_output (16 to 64 by 16 to 256\n"
    "new tokens) take prompts from the beginning of WikiText-2. 60 new tokens but for\n"
    "the last, greedy, past any end of text. Prefill Phase: the pass over the prompt;\n"
    "Time/Token: of the passes after it; Total Time: all, sampling too. The limit:\n"
    "memory read before and after each row / bytes of weights read for a token.";

struct BenchFlags {
  std::string model;
  ComputeFlags compute;
  SpeedOptions options;
  std::string task;
  TableFormatFlag format;
  std::string text;
  std::vector<std::int64_t> lengths;  // of prompts, in place of the task's
};

Table make_table() {
  return Table({{"test", "test", TableColumn::Align::kLeft, 10},
                {.title = "tok/s min", .key = "min_tokens_per_second", .min_width = 10},
                {.title = "median", .key = "median_tokens_per_second", .min_width = 10},
                {.title = "max", .key = "max_tokens_per_second", .min_width = 10},
                {.title = "limit", .key = "limit_tokens_per_second", .min_width = 10},
                {.title = "% of limit", .key = "percent_of_limit", .min_width = 11}});
}

void add_row(Table& table, const std::string& test, const Spread& speed, double limit,
             double percent) {
  table.add_row({test,
                 {speed.min, 2},
                 {speed.median, 2},
                 {speed.max, 2},
                 {limit, 2},
                 {percent, fmt::format("{:.1f} %", percent)}});
}

void add_prefill(Table& table, const PrefillSpeed& speed) {
  const Spread spread = spread_of(speed.tokens_per_second);
  add_row(table, fmt::format("pp{}", speed.tokens), spread, speed.limit(),
          100 * spread.median / speed.limit());
  table.add_remark(
      fmt::format("           limit: {:.3f} TOPS of {}", speed.peak / 1e12, speed.instruction));
}

void add_decode(Table& table, const Json& result, int kept_wanted) {
  const auto kept = result["kept"].get<int>();
  if (kept == 0) {
    table.add_remark(fmt::format("{:<10} no run could be kept", result["test"].get<std::string>()));
  } else {
    const Json& speed = result["tokens_per_second"];
    add_row(table, result["test"], {speed["min"], speed["median"], speed["max"]}, result["limit"],
            result["percent_of_limit"]);
  }
  for (const Json& mode : result["modes"]) {
    table.add_remark(
        fmt::format("           at {:.1f} GB/s: {:.2f} tok/s, {:.1f} % of limit ({} of {} runs)",
                    mode["read_gbps"].get<double>(), mode["tokens_per_second"].get<double>(),
                    mode["percent_of_limit"].get<double>(), mode["n"].get<int>(), kept));
  }
  if (const auto dropped = result["dropped"].get<int>(); dropped > 0) {
    table.add_remark(fmt::format(
        "           {} runs dropped: the bandwidth changed by more than 10 % during them",
        dropped));
  }
  if (kept < kept_wanted) {
    warn("the memory bandwidth of this machine is too unsteady: kept {} of {} runs wanted", kept,
         kept_wanted);
  }
}

void add_sequences(Table& table, const Json& result) {
  const Json& speed = result["tokens_per_second"];
  add_row(table, result["test"], {speed["min"], speed["median"], speed["max"]}, result["limit"],
          result["percent_of_limit"]);
  const auto count = result["sequences"].get<std::int64_t>();
  const auto one = result["one_sequence"].get<double>();
  table.add_remark(
      fmt::format("           limit: the lower of {} x {:.2f} = {:.2f} and prefill, {:.2f}", count,
                  one, static_cast<double>(count) * one, result["prefill"].get<double>()));
}

void bench_task(const BenchFlags& flags, const CommonFlags& common) {
  const ComputeOptions compute = flags.compute.options();
  ThreadPool pool(common.threads);
  Model model(locate_model(flags.model), pool, compute);
  LatencyTask task = *find_latency_task(flags.task);
  if (!flags.lengths.empty()) {
    task.lengths.clear();
    for (const std::int64_t prompt : flags.lengths) {
      task.lengths.push_back({prompt, kStandardNewTokens});
    }
  }
  LatencyRequest request{.model = flags.model,
                         .task = &task,
                         .format = flags.format,
                         .text = flags.text,
                         .context = flags.compute.context,
                         .options = {.compute = compute}};
  if (common.json) request.format.name = "json";
  run_latency_task(model, request);
}

void bench(const BenchFlags& flags, const CommonFlags& common) {
  if (!flags.task.empty()) return bench_task(flags, common);
  const ComputeOptions compute = flags.compute.options();
  SpeedOptions options = flags.options;
  options.context = flags.compute.context;
  options.seed = common.seed;
  ThreadPool pool(common.threads);
  Model model(locate_model(flags.model), pool, compute);
  const double load_ms = milliseconds_since_process_start();
  const SpeedReport report = measure_speed(model, compute, options);

  const TokenCost token = token_cost(model.checkpoint(), compute.dtype);
  const char* kernels = model.compute().kernels().name;
  const int threads = model.compute().pool().size();
  if (common.json) {
    Json results = Json::array();
    for (const PrefillSpeed& speed : report.prefill) results.push_back(prefill_json(speed));
    for (const DecodeSpeed& speed : report.decode) results.push_back(decode_json(speed));
    for (const SequencesSpeed& speed : report.sequences) results.push_back(sequences_json(speed));
    Json first = nullptr;
    for (const FirstTokens& tokens : report.first) first = first_tokens_json(tokens);
    print_json({{"model", flags.model},
                {"kernels", kernels},
                {"threads", threads},
                {"activations", activation_type_name(model.activations())},
                {"bits_per_weight", token.bits_per_weight()},
                {"bytes_per_token", std::llround(token.bytes)},
                {"results", std::move(results)},
                {"load_ms", load_ms},
                {"first_tokens", std::move(first)},
                {"peak_rss_bytes", report.peak_rss_bytes}});
    return;
  }
  fmt::print("{}: {:.3f} bits a weight, {} read a token; {} activations, {} kernels, {} {}\n",
             flags.model, token.bits_per_weight(), human_bytes(token.bytes),
             activation_type_name(model.activations()), kernels, threads,
             threads == 1 ? "thread" : "threads");
  fmt::print("loaded in {:.0f} ms; peak memory {}\n", load_ms,
             human_bytes(static_cast<double>(report.peak_rss_bytes)));
  for (const FirstTokens& first : report.first) {
    fmt::print("at first: a prompt of {} tokens in {:.0f} ms, then {} tokens at {:.2f} tok/s\n",
               kDecodeStart, 1000 * first.prompt_seconds, first.tokens, first.per_second());
  }
  fmt::print("\n");
  Table table = make_table();
  for (const PrefillSpeed& speed : report.prefill) add_prefill(table, speed);
  for (const DecodeSpeed& speed : report.decode) {
    add_decode(table, decode_json(speed), options.repetitions);
  }
  for (const SequencesSpeed& speed : report.sequences) add_sequences(table, sequences_json(speed));
  fmt::print("{}", table.text());
}

using NamedFlags = std::initializer_list<std::pair<Flag, const char*>>;

void refuse_with_task(const Flag& task, NamedFlags others) {
  for (const auto& [flag, name] : others) {
    if (task.given() && flag.given()) throw UsageError(fmt::format("{} excludes --task", name));
  }
}

void require_task(const Flag& task, NamedFlags others) {
  for (const auto& [flag, name] : others) {
    if (!task.given() && flag.given()) throw UsageError(fmt::format("{} requires --task", name));
  }
}

}  // namespace

void add_bench(CommandLine& line, CommonFlags& common) {
  const Command command = line.add_command("bench", "Measure the speed of prefill and decode");
  auto flags = std::make_shared<BenchFlags>();
  SpeedOptions& options = flags->options;
  add_model_argument(command, flags->model);
  constexpr std::int64_t kMaxTokens = std::int64_t{1} << 30;
  const Flag prompt =
      command.add("-p,--prompt", options.prompt, "Tokens of the prompt (0: leave prefill out)")
          .in_range(0, kMaxTokens)
          .show_default();
  const Flag generate =
      command.add("-n,--generate", options.generate, "New tokens (0: leave decode out)")
          .in_range(0, kMaxTokens)
          .show_default();
  const Flag sequences =
      command
          .add("--sequences", options.sequences, "Sequences to decode at once (0: leave this out)")
          .in_range(0, 1024)
          .show_default();
  const Flag repetitions = command.add("-r,--repetitions", options.repetitions, "Runs of each test")
                               .in_range(1, 10000)
                               .show_default();
  const Flag task = command.add("--task", flags->task, "Make a latency table instead")
                        .one_of(latency_task_names());
  const Flag format = add_format_flag(command, flags->format);
  const Flag text = command.add(
      "--text", flags->text,
      "What prompts of a task are cut from (default: wiki.test.raw under $NIBBLE_DATA)");
  const Flag lengths = command.add_parsed(
      "--lengths",
      [flags](const std::string& list) {
        flags->lengths = parse_integers("--lengths", list, 1, kMaxTokens);
      },
      "Prompts of these lengths in place of the task's, with commas, 60 new tokens each");
  command.check([=] {
    if (!flags->lengths.empty() && flags->task == "decode") {
      throw UsageError("--lengths is of tasks that cut their prompts from a text, not of decode");
    }
    refuse_with_task(task, {{prompt, "--prompt"},
                            {generate, "--generate"},
                            {sequences, "--sequences"},
                            {repetitions, "--repetitions"}});
    require_task(task, {{format, "--format"}, {text, "--text"}, {lengths, "--lengths"}});
  });
  add_compute_flags(command, flags->compute);
  add_common_flags(command, common);
  command.set_example("nibble bench Llama-3.2-1B-w4 -p 512 -n 128 -r 5",
                      fmt::format(kBenchNotes, kDecodeStart, kFirstTokens));
  command.set_action([flags, &common] { bench(*flags, common); });
}

}  // namespace nibble::cli
