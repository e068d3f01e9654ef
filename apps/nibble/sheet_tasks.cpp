// nibble run_awq, nibble run_smoothquant: the tasks.
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "chat.h"
#include "nibble/bench/operation_counts.h"
#include "nibble/core/error.h"
#include "nibble/core/log.h"
#include "nibble/core/progress.h"
#include "nibble/eval/data_folder.h"
#include "nibble/eval/text.h"
#include "nibble/models/inspection.h"
#include "nibble/runtime/generate.h"
#include "profile_tables.h"
#include "sheet_flags.h"

namespace nibble::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kPromptsOfQuantize = 3;

/// What a task works with.
struct SheetRun {
  const SheetFlags& flags;
  CommonFlags common;  // with json if that is the format
  fs::path source;     // the model that was named
  fs::path model;      // what is loaded: that, or a checkpoint of it

  bool json() const { return common.json; }
  bool is_for_people() const { return !json() && flags.format.is_for_people(); }
  /// What is loaded, as the sheets call it: "bf16", "awq", "w8a8".
  std::string title() const {
    if (model == source) return Checkpoint(source).is_quantized() ? "" : "bf16";
    return flags.recipe().bits == 8 ? flags.precision : flags.recipe().title();
  }
  Model load(ThreadPool& pool) const { return {model, pool, flags.compute().options()}; }
};

void print_modules(const SheetRun& run, const Checkpoint& checkpoint) {
  if (!run.is_for_people()) return;
  const bool as_one = run.flags.fast.fused().has(Fusion::kProjections);
  print_text(module_tree(checkpoint, as_one ? ProjectionView::kAsOne : ProjectionView::kApart) +
             "\n\n");
}

/// `nibble quantize` with these arguments.
void call_quantize(const std::vector<std::string>& args, const CommonFlags& common) {
  CommandLine line("", "");
  CommonFlags flags = common;
  add_quantize(line, flags);
  std::vector<const char*> argv = {"nibble", "quantize"};
  for (const std::string& arg : args) argv.push_back(arg.c_str());
  line.parse(static_cast<int>(argv.size()), argv.data());
  line.action()();
}

/// WikiText-2's training part under $NIBBLE_DATA, "wiki.train.raw" or, of a piece of it,
/// "wiki.train.<what>.raw"; or nothing.
std::optional<fs::path> default_calibration_text() {
  const auto data = data_folder();
  if (!data) return std::nullopt;
  std::vector<fs::path> found;
  for (const fs::path& folder : {*data, *data / "wikitext-2-raw"}) {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder, error)) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with("wiki.train.") && name.ends_with(".raw")) found.push_back(entry.path());
    }
  }
  if (found.empty()) return std::nullopt;
  return *std::max_element(found.begin(), found.end(), [](const fs::path& a, const fs::path& b) {
    return a.filename() < b.filename();  // "wiki.train.raw" is last
  });
}

std::vector<std::string> quantize_arguments(const SheetRun& run) {
  const Recipe recipe = run.flags.recipe();
  std::vector<std::string> args = {run.source.string(), "-o", run.model.string()};
  const std::vector<std::string> flags = recipe.quantize_flags();
  args.insert(args.end(), flags.begin(), flags.end());
  std::vector<std::string> texts = run.flags.calibration;
  if (texts.empty() && recipe.algorithm != "pergrp") {
    const auto text = default_calibration_text();
    if (!text) {
      fail(
          "--algorithm {} needs a text to calibrate on: give one with --calib, or put WikiText-2's "
          "wiki.train.raw (data set \"wikitext\", configuration wikitext-2-raw-v1, from the "
          "Hugging "
          "Face hub) under $NIBBLE_DATA",
          recipe.algorithm);
    }
    texts.push_back(text->string());
  }
  for (const std::string& text : texts) args.insert(args.end(), {"--calib", text});
  if (run.flags.force) args.emplace_back("--force");
  return args;
}

/// So that a broken checkpoint is seen at once.
void complete_prompts(const SheetRun& run, Model& model) {
  const Tokenizer tokenizer = model.checkpoint().load_tokenizer();
  const LatencyCases made =
      encode_standard_prompts(model, tokenizer, model.spec().context, kPromptsOfQuantize);
  for (std::size_t i = 0; i < made.cases.size(); ++i) {
    const LatencyCase& one = made.cases[i];
    KvCache cache = model.make_cache(std::ssize(one.prompt) + one.new_tokens);
    Sequence sequence(tokenizer, model.spec(), one.prompt, cache.capacity(),
                      {.max_tokens = one.new_tokens, .sampler = {}, .stop = {}});
    print_text(fmt::format("{:*<40}\n{}", "", standard_prompts()[i]));
    generate(model, cache, sequence, [](std::string_view piece) { print_text(piece); });
    print_text("\n");
  }
  if (run.is_for_people()) print_text(fmt::format("{:*<40}\n", ""));
}

void quantize(const SheetRun& run) {
  if (fs::exists(run.model) && !run.flags.force) {
    warn("{}: is there already (--force makes it again)", run.model.string());
    if (run.json()) return print_json({{"output", run.model.string()}});
  } else {
    std::error_code error;
    fs::create_directories(run.model.parent_path(), error);
    if (error) fail("{}: cannot be created: {}", run.model.parent_path().string(), error.message());
    call_quantize(quantize_arguments(run), run.common);
    if (run.json()) return;  // its report is the document
    print_text("\n");
  }
  ThreadPool pool(run.common.threads);
  Model model = run.load(pool);
  print_modules(run, model.checkpoint());
  if (model.checkpoint().has_tokenizer()) complete_prompts(run, model);
}

/// `profilemodel512` and the like: tokens of the prompt; 0 for other tasks.
std::int64_t profiled_length(const std::string& task) {
  constexpr std::pair<std::string_view, std::int64_t> kLengths[] = {{"profilemodel", 128},
                                                                    {"profilemodel256", 256},
                                                                    {"profilemodel512", 512},
                                                                    {"profilemodel1k", 1024},
                                                                    {"profilemodel2k", 2048}};
  for (const auto& [name, length] : kLengths) {
    if (task == name) return length;
  }
  return 0;
}

/// The operators of one completion, beside what the machine can do.
ProfileReport profile_of(Model& model, const ComputeOptions& compute, const LatencyRow& row) {
  CompletionPhases phases = phases_of(row);
  ProfileReport report{.prefill = std::move(phases.prefill), .decode = std::move(phases.decode)};
  measure_peak_of_products(model, compute, row.prompt_tokens, report);
  report.read_bandwidth = row.read();
  report.bandwidth_held =
      std::max(row.read_before, row.read_after) <= 1.1 * std::min(row.read_before, row.read_after);
  return report;
}

void profile_model(const SheetRun& run, std::int64_t length) {
  ThreadPool pool(run.common.threads);
  Model model = run.load(pool);
  print_modules(run, model.checkpoint());
  // Where the context ends with the prompt it makes room for the tokens behind it.
  const std::int64_t context = run.flags.context > 0 ? run.flags.context : model.spec().context;
  length = std::min(length, std::max<std::int64_t>(context - kStandardNewTokens + 1, 1));
  const LatencyTask task{run.flags.task, {{length, kStandardNewTokens}}};
  const LatencyReport report = run_latency(
      model, {.model = run.flags.model,
              .task = &task,
              .format = run.flags.format,
              .text = run.flags.text,
              .context = run.flags.context,
              .options = {.compute = run.flags.compute().options(), .with_operators = true}});
  const ProfileReport profile =
      profile_of(model, run.flags.compute().options(), report.rows.front());
  if (run.json()) {
    Json json = latency_json(run.flags.model, task.name, report);
    json["profile"] = profile_json(profile);
    return print_json(json);
  }
  print_latency(report, run.flags.format);
  if (run.is_for_people()) {
    print_text("\n");
    print_profile(run.flags.model, model, profile);
  }
}

void measure_latencies(const SheetRun& run) {
  ThreadPool pool(run.common.threads);
  Model model = run.load(pool);
  print_modules(run, model.checkpoint());
  LatencyRequest request{.model = run.flags.model,
                         .task = find_latency_task(run.flags.task),
                         .format = run.flags.format,
                         .text = run.flags.text,
                         .context = run.flags.context,
                         .options = {.compute = run.flags.compute().options(),
                                     .with_operators = run.flags.profile.any()}};
  if (run.json()) request.format.name = "json";
  const LatencyReport report = run_latency_task(model, request);
  if (run.json()) return;
  const auto print = [&](const Table& table) {
    print_text("\n");
    print_table(table, run.flags.format);
  };
  if (run.flags.profile.products) print(product_table(report.rows));
  if (run.flags.profile.layers) print(layer_table(report.rows));
}

void print_any(const SheetRun& run, const Table& table) {
  if (run.json()) {
    print_json({{"model", run.flags.model}, {"task", run.flags.task}, {"rows", table.json()}});
  } else {
    print_table(table, run.flags.format);
  }
}

/// Powers of two that prompts of a model may be long.
std::vector<std::int64_t> prompt_lengths(const ModelSpec& spec, std::int64_t shortest) {
  std::vector<std::int64_t> lengths;
  for (std::int64_t length = shortest; length <= std::min<std::int64_t>(4096, spec.context);
       length *= 2) {
    lengths.push_back(length);
  }
  return lengths;
}

void show_shapes(const SheetRun& run) {
  const Checkpoint checkpoint(run.source);
  Table table({{"M (tokens)", "m"},
               {"K (in)", "k"},
               {"N (out)", "n"},
               {"Count", "count"},
               {"Layers", "layers", TableColumn::Align::kLeft}},
              2);
  std::vector<std::int64_t> passes = prompt_lengths(checkpoint.spec(), 128);
  passes.insert(passes.begin(), 1);  // a token of decode
  for (const std::int64_t tokens : passes) {
    for (const ProductShape& shape : product_shapes(checkpoint.spec(), tokens)) {
      if (tokens > 1 && shape.m == 1)
        continue;  // the head, of which a pass has one row at all times
      table.add_row({shape.m, shape.k, shape.n, shape.count,
                     fmt::format("{}", fmt::join(shape.modules, " "))});
    }
  }
  print_any(run, table);
}

void count_operations(const SheetRun& run) {
  const Checkpoint checkpoint(run.source);
  Table table({{"Prompt Length (tokens)", "prompt_tokens"},
               {"Prompt Linear (Gop)", "prompt_linear_gop"},
               {"Prompt Attention (Gop)", "prompt_attention_gop"},
               {"Prompt (Gop)", "prompt_gop"},
               {"Token Linear (Gop)", "token_linear_gop"},
               {"Token Attention (Gop)", "token_attention_gop"},
               {"Token (Gop)", "token_gop"}},
              2);
  for (const std::int64_t length : prompt_lengths(checkpoint.spec(), 4)) {
    std::vector<TableCell> cells = {length};
    for (const OperationCount& count : {nibble::count_operations(checkpoint.spec(), 0, length),
                                        nibble::count_operations(checkpoint.spec(), length, 1)}) {
      for (const double operations : {count.linear, count.attention, count.total()}) {
        cells.emplace_back(operations / 1e9, 3);
      }
    }
    table.add_row(std::move(cells));
  }
  print_any(run, table);
}

void talk(const SheetRun& run) {
  ChatFlags flags;
  flags.model = run.model.string();
  flags.compute = run.flags.compute();
  print_modules(run, Checkpoint(run.model));
  chat(flags, run.common);
}

/// The model and its checkpoints, titled as the sheets' columns are.
std::vector<PerplexityColumn> columns_of(const fs::path& source) {
  if (Checkpoint(source).is_quantized()) return {{source.string()}};
  std::vector<PerplexityColumn> columns = {{source.string(), "bf16"}};
  for (const auto& [recipe, path] : made_checkpoints(source)) {
    if (recipe.bits == 8) {
      columns.push_back({path.string(), "w8a16", "bf16"});
      columns.push_back({path.string(), "w8a8", "int8"});
    } else {
      columns.push_back({path.string(), recipe.title()});
    }
  }
  return columns;
}

/// One value for what the flags ask for, or a table with all checkpoints of the model.
void measure_perplexity(const SheetRun& run) {
  PerplexityFlags flags;
  flags.format = run.flags.format;
  flags.text = run.flags.text;
  if (flags.text.empty() && run.flags.dataset == "non-raw") {
    flags.text = default_evaluation_text(WikiText::kTokens).string();
    flags.rows = true;
  }
  flags.seqlens = run.flags.seqlens;
  flags.n_segments = run.flags.n_segments;
  ComputeFlags compute = run.flags.compute();
  print_modules(run, Checkpoint(run.model));
  if (flags.seqlens.empty()) {
    flags.columns = {{run.model.string(), run.title()}};
  } else {
    flags.columns = columns_of(run.source);
    compute.activations.clear();  // each as its column says
  }
  eval_perplexity(flags, compute, run.common);
}

void ask_questions(const SheetRun& run) {
  print_modules(run, Checkpoint(run.model));
  MmluFlags flags = run.flags.mmlu;
  flags.data = run.flags.data;
  flags.output = run.flags.output;
  flags.format = run.flags.format;
  flags.name = run.flags.model;  // the checkpoint is called by its recipe
  eval_mmlu(run.model.string(), flags, run.flags.compute(), run.common);
}

void complete_functions(const SheetRun& run) {
  print_modules(run, Checkpoint(run.model));
  HumanEvalFlags flags = run.flags.humaneval;
  flags.data = run.flags.data;
  flags.output = run.flags.output;
  if (flags.output.empty()) {
    const fs::path source = run.source.has_filename() ? run.source : run.source.parent_path();
    const std::string weights = run.title().empty() ? "" : "-" + run.title();
    flags.output = fmt::format("humaneval-{}{}.jsonl", source.filename().string(), weights);
    std::replace(flags.output.begin(), flags.output.end(), ' ', '-');
  }
  eval_humaneval(run.model.string(), flags, run.flags.compute(), run.common);
}

/// The checkpoint that the flags ask for, or the model itself. Throws Error, naming the command
/// that makes it, if a task needs it and it is not there.
fs::path find_weights(const SheetFlags& flags, const fs::path& source) {
  const bool makes_it = flags.task == "quantize";
  const bool takes_all = flags.task == "perplexity" && !flags.seqlens.empty();
  if (!flags.is_quantized() || takes_all) return source;
  if (!makes_it && Checkpoint(source).is_quantized()) return source;
  fs::path made = checkpoint_folder(source) / flags.recipe().name();
  if (!makes_it && !fs::exists(made)) {
    fail("{}: no {} checkpoint of it yet; make it with: {}", flags.model, flags.recipe().name(),
         flags.quantize_line());
  }
  return made;
}

}  // namespace

const std::vector<SheetTask>& sheet_tasks() {
  static const std::vector<SheetTask> tasks = {
      {"quantize", "make the checkpoint, and complete three prompts"},
      {"decode", "complete ten prompts: texts, then the latency table"},
      {"benchmark", "latency: prompts of 4 to 256 tokens, 60 new ones"},
      {"benchmark_long", "latency: prompts of 512 to 4000 tokens"},
      {"benchmark_exact", "latency: prompts of 128 to 2048 tokens"},
      {"benchmark_long_output", "latency: prompts of 16 to 64, 16 to 256 new tokens"},
      {"profilemodel", "one prompt of 128 tokens: time by operator and layer"},
      {"profilemodel256", "the same, of 256"},
      {"profilemodel512", "of 512"},
      {"profilemodel1k", "of 1024"},
      {"profilemodel2k", "of 2048"},
      {"perplexity", "of WikiText-2: a value, or a table (--seqlens)"},
      {"mmlu", "questions with four answers"},
      {"humaneval", "completions of functions, as JSON lines for the scorer"},
      {"infershapes", "the products of linear layers: M x K x N"},
      {"countgops", "operations by length of the prompt"},
      {"chat", "a conversation with the model's template"}};
  return tasks;
}

void run_sheet(const SheetFlags& flags, const CommonFlags& common) {
  const fs::path source = locate_model(flags.model);
  CommonFlags own = common;
  own.json |= flags.format.name == "json";
  if (flags.task == "infershapes") return show_shapes({flags, own, source, source});
  if (flags.task == "countgops") return count_operations({flags, own, source, source});
  const SheetRun run{flags, own, source, find_weights(flags, source)};
  if (flags.target == "aie") warn("--target aie: no such device is here; the CPU computes");
  if (flags.task == "quantize") return quantize(run);
  if (flags.task == "chat") return talk(run);
  if (flags.task == "perplexity") return measure_perplexity(run);
  if (flags.task == "mmlu") return ask_questions(run);
  if (flags.task == "humaneval") return complete_functions(run);
  if (const std::int64_t length = profiled_length(flags.task)) return profile_model(run, length);
  measure_latencies(run);
}

}  // namespace nibble::cli
