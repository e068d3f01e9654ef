// nibble run_awq, nibble run_smoothquant: the flags.
#include "sheet_flags.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "task_flags.h"

namespace nibble::cli {
namespace {

constexpr const char kSheetNotes[] =
    "A checkpoint that `--task quantize` makes lies under $NIBBLE_MODELS/cache, by\n"
    "what was asked for; the other tasks load it and print its modules. --precision\n"
    "bf16, and a model that is quantized already, need none.\n\n"
    "Without --flash_attention_plus and --fast_* operators run one by one, as the\n"
    "sheets' do; with them they run as one: --flash_attention_plus takes q, k and v\n"
    "in one product and attention in tiles (without: a row of scores for each token\n"
    "and head, its softmax, the sum of the values); --fast_attention takes in rotary\n"
    "positions and the cache besides; --fast_mlp the activation and the gate;\n"
    "--fast_norm the norms; --fast_decoder the residual sums. `nibble run` has all.\n\n"
    "Tasks:\n";

const SheetCommand kRunAwq = {.name = "run_awq",
                              .description = "The result sheets' command for 3 and 4 bits a weight",
                              .precisions = {"w4abf16", "bf16"},
                              .algorithms = {"awq", "awqplus", "pergrp"}};
const SheetCommand kRunSmoothQuant = {
    .name = "run_smoothquant",
    .description = "The result sheets' command for 8 bits a weight",
    .precisions = {"w8a8", "w8a16", "bf16"},
    .algorithms = {"smoothquant"}};

std::string task_notes() {
  std::string text = kSheetNotes;
  for (const SheetTask& task : sheet_tasks()) {
    text += fmt::format("  {:<23} {}\n", task.name, task.what);
  }
  text.pop_back();
  return text;
}

std::vector<std::string> task_names() {
  std::vector<std::string> names;
  for (const SheetTask& task : sheet_tasks()) names.emplace_back(task.name);
  return names;
}

using TaskFlags = std::vector<TaskFlag>;

void add_recipe_flags(const Command& command, SheetFlags& flags, TaskFlags& of_task) {
  command.add("--precision", flags.precision, "Of weights and activations")
      .one_of(flags.command->precisions)
      .show_default();
  command.add("--algorithm", flags.algorithm, "How to quantize")
      .one_of(flags.command->algorithms)
      .show_default();
  if (flags.command == &kRunAwq) {
    command.add("--w_bit", flags.w_bit, "Bits a weight").one_of({3, 4}).show_default();
    command.add("--group_size", flags.group_size, "Input channels that share a scale")
        .one_of({32, 64, 128})
        .show_default();
  }
  const Flag texts =
      command
          .add("--calib", flags.calibration,
               "A text that quantize calibrates on (default: wiki.train.raw under $NIBBLE_DATA)")
          .one_value_each_time();
  of_task.push_back({"--calib", texts, {"quantize"}});
  const Flag force =
      command.add_switch("--force", flags.force, "Quantize again what is there already");
  of_task.push_back({"--force", force, {"quantize"}});
}

void add_fast_flags(const Command& command, FastFlags& fast) {
  command.add_switch("--flash_attention_plus", fast.flash_attention_plus,
                     "q, k and v in one product, attention in tiles");
  command.add_switch("--fast_attention", fast.attention,
                     "The same, with rotary positions and cache");
  command.add_switch("--fast_mlp", fast.mlp, "Activation and gate with their products");
  command.add_switch("--fast_norm", fast.norm, "Norms with the products behind them");
  command.add_switch("--fast_decoder", fast.decoder, "Residual sums with the products");
}

constexpr std::int64_t kMostPositions = std::int64_t{1} << 30;

/// Of perplexity, beside --dataset, which any line may have.
void add_perplexity_flags(const Command& command, SheetFlags& flags, TaskFlags& of_task) {
  command
      .add("--dataset", flags.dataset,
           "WikiText-2 of perplexity: as written (wiki.test.raw), or cut into words "
           "(wiki.test.tokens)")
      .one_of({"raw", "non-raw"})
      .show_default();
  const Flag seqlens = command.add_parsed(
      "--seqlens",
      [&flags](const std::string& text) {
        flags.seqlens = parse_integers("--seqlens", text, 2, kMostPositions);
      },
      "Lengths of perplexity's segments, with commas: a table of them, with the model and each "
      "checkpoint of it as columns (default: 2048, one value of one checkpoint)");
  of_task.push_back({"--seqlens", seqlens, {"perplexity"}});
  const Flag segments =
      command.add("--n_segments", flags.n_segments, "Segments to measure (default: all)")
          .in_range(1, kMostPositions);
  of_task.push_back({"--n_segments", segments, {"perplexity"}});
}

/// Of the tasks with questions.
void add_question_flags(const Command& command, SheetFlags& flags, TaskFlags& of_task) {
  const auto of = [&](std::vector<std::string> tasks, const char* name, const Flag& flag) {
    of_task.push_back({name, flag, std::move(tasks)});
  };
  of({"mmlu", "humaneval"}, "--data",
     command.add("--data", flags.data,
                 "The questions: mmlu's folder, with dev/ and test/; humaneval's file (default: "
                 "under $NIBBLE_DATA)"));
  of({"mmlu", "humaneval"}, "-o",
     command.add("-o,--output", flags.output,
                 "mmlu: keep the answers in this file, and go on from those in it; humaneval: the "
                 "completions (default: humaneval-MODEL-WEIGHTS.jsonl here)"));
  of({"mmlu"}, "--subjects",
     command.add("--subjects", flags.mmlu.subjects, "Subjects of MMLU, with commas, or all: the 57")
         .show_default());
  of({"mmlu"}, "--limit",
     command.add("--limit", flags.mmlu.limit, "Questions of each subject; 0: all")
         .in_range(0, kMostPositions)
         .show_default());
  of({"humaneval"}, "--n",
     command.add("--n", flags.humaneval.samples, "Completions of each problem of humaneval")
         .in_range(1, 1 << 20)
         .show_default());
  of({"humaneval"}, "--temperature",
     command
         .add("--temperature", flags.humaneval.temperature,
              "Of drawing them; 0: always the most likely token")
         .in_interval(0, 1e6)
         .show_default());
  of({"humaneval"}, "--max_tokens",
     command
         .add("--max_tokens", flags.humaneval.max_tokens, "New tokens of a completion at the most")
         .in_range(1, kMostPositions)
         .show_default());
}

void add_sheet(CommandLine& line, CommonFlags& common, const SheetCommand& sheet) {
  const Command command = line.add_command(sheet.name, sheet.description);
  auto flags = std::make_shared<SheetFlags>();
  flags->command = &sheet;
  flags->precision = sheet.precisions.front();
  flags->algorithm = sheet.algorithms.front();
  command
      .add("--model_name", flags->model,
           "A model folder, a .gguf file, or a name under $NIBBLE_MODELS or in the Hugging Face "
           "cache")
      .required();
  command.add("--task", flags->task, "What to do (below)").one_of(task_names()).show_default();
  auto of_task = std::make_shared<TaskFlags>();
  add_recipe_flags(command, *flags, *of_task);
  add_fast_flags(command, flags->fast);
  command
      .add("--target", flags->target, "Where to compute; aie: an NPU, for which the CPU stands in")
      .one_of({"cpu", "aie"})
      .show_default();
  command.add_switch("--profilegemm", flags->profile.products,
                     "Add a table of the products' times to a latency table");
  command.add_switch("--profile_layer", flags->profile.layers,
                     "Add a table of the layers' times to a latency table");
  add_format_flag(command, flags->format);
  command.add("--text", flags->text,
              "What prompts are cut from, or perplexity is of (default: wiki.test.raw under "
              "$NIBBLE_DATA)");
  add_perplexity_flags(command, *flags, *of_task);
  add_question_flags(command, *flags, *of_task);
  command.add("-c,--context", flags->context, "Positions there is room for (default: the model's)")
      .in_range(1, kMostPositions);
  add_common_flags(command, common);
  command.check([flags, of_task] {
    refuse_flags_of_other_tasks(*of_task, flags->task);
    check_samples(flags->humaneval);
    if (flags->task == "quantize" && !flags->is_quantized()) {
      throw UsageError("--task quantize has nothing to do for --precision bf16");
    }
  });
  command.set_example(
      fmt::format("nibble {} --model_name Llama-3.2-1B --task quantize", sheet.name), task_notes());
  command.set_action([flags, &common] { run_sheet(*flags, common); });
}

}  // namespace

FusionSet FastFlags::fused() const {
  FusionSet set;
  if (flash_attention_plus) set |= {Fusion::kProjections, Fusion::kAttention};
  if (attention) set |= {Fusion::kProjections, Fusion::kAttention, Fusion::kRope};
  if (mlp) set |= {Fusion::kActivation};
  if (norm) set |= {Fusion::kNorm};
  if (decoder) set |= {Fusion::kResidual};
  return set;
}

Recipe SheetFlags::recipe() const {
  if (command == &kRunSmoothQuant) return {algorithm, 8, 0};
  return {algorithm, w_bit, group_size};
}

ComputeFlags SheetFlags::compute() const {
  ComputeFlags flags;
  flags.activations = precision == "w8a8" ? "int8" : "bf16";
  flags.context = context;
  flags.fusion = fast.fused();
  return flags;
}

std::string SheetFlags::quantize_line() const {
  const Recipe made = recipe();
  std::string line = fmt::format("nibble {} --model_name {} --task quantize", command->name, model);
  if (algorithm != command->algorithms.front()) line += " --algorithm " + algorithm;
  if (made.bits == 3) line += " --w_bit 3";
  if (made.group_size == 32 || made.group_size == 64) {
    line += fmt::format(" --group_size {}", made.group_size);
  }
  return line;
}

void add_run_awq(CommandLine& line, CommonFlags& common) {
  add_sheet(line, common, kRunAwq);
}

void add_run_smoothquant(CommandLine& line, CommonFlags& common) {
  add_sheet(line, common, kRunSmoothQuant);
}

}  // namespace nibble::cli
