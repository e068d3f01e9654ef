// nibble eval: what a model is worth.
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>

#include "eval_tasks.h"

namespace nibble::cli {
namespace {

struct EvalFlags {
  std::string task = "perplexity";
  PerplexityFlags perplexity;  // its models are those of every task
  MmluFlags mmlu;
  ComputeFlags compute;
};

/// A flag that some tasks have.
struct TaskFlag {
  const char* name;
  Flag flag;
  std::vector<std::string> tasks;
};

void check(const EvalFlags& flags, const std::vector<TaskFlag>& task_flags) {
  for (const auto& [name, flag, tasks] : task_flags) {
    if (!flag.given() || std::find(tasks.begin(), tasks.end(), flags.task) != tasks.end()) continue;
    throw UsageError(
        fmt::format("{} is of --task {}, not of {}", name, fmt::join(tasks, " and "), flags.task));
  }
  const std::size_t models = flags.perplexity.models.size();
  if (flags.task != "perplexity" && models > 1) {
    throw UsageError(fmt::format("--task {} takes one MODEL, found {}", flags.task, models));
  }
}

void eval(const EvalFlags& flags, const CommonFlags& common) {
  if (flags.task == "mmlu") {
    eval_mmlu(flags.perplexity.models.front(), flags.mmlu, flags.compute, common);
  } else {
    eval_perplexity(flags.perplexity, flags.compute, common);
  }
}

using TaskFlags = std::vector<TaskFlag>;

void add_perplexity_flags(const Command& command, PerplexityFlags& flags, TaskFlags& of_task) {
  const auto add = [&](const char* name, const Flag& flag) {
    of_task.push_back({name, flag, {"perplexity"}});
    return flag;
  };
  add("--protocol",
      command.add("--protocol", flags.protocol,
                  "segments: rows joined by a newline; paper: by two, as GPTQ's and AWQ's tables"))
      .one_of({"segments", "paper"})
      .show_default();
  add("--text",
      command.add("--text", flags.text,
                  "The text (default: wiki.test.raw under $NIBBLE_DATA; - reads standard input)"));
  add("--rows", command.add_switch("--rows", flags.rows,
                                   "Join the text's lines as WikiText's rows (always done for "
                                   "wiki.test.raw)"));
  constexpr std::int64_t kMaxLength = std::int64_t{1} << 30;
  const Flag seqlen =
      add("--seqlen",
          command.add("--seqlen", flags.seqlen,
                      "Tokens of a segment (default: 2048, or the models' shortest context)"))
          .in_range(2, kMaxLength);
  add("--seqlens", command.add_parsed(
                       "--seqlens",
                       [&flags](const std::string& text) {
                         flags.seqlens = parse_integers("--seqlens", text, 2, kMaxLength);
                       },
                       "Several lengths, with commas: a row each"))
      .excludes(seqlen);
  add("--n-segments",
      command.add("--n-segments", flags.n_segments, "Segments to measure (default: all)"))
      .in_range(1, std::int64_t{1} << 40);
  add("--reference", command.add("--reference", flags.reference,
                                 "A model to compare with: adds KL divergence and top-1 "
                                 "agreement; its activations are bf16 where those of the others "
                                 "are int8"));
}

void add_mmlu_flags(const Command& command, MmluFlags& flags, TaskFlags& of_task) {
  const auto add = [&](const char* name, const Flag& flag) {
    of_task.push_back({name, flag, {"mmlu"}});
    return flag;
  };
  add("--data", command.add("--data", flags.data,
                            "The folder of the questions, with dev/ and test/ (default: mmlu under "
                            "$NIBBLE_DATA)"));
  add("--subjects",
      command.add("--subjects", flags.subjects, "Subjects of MMLU, with commas, or all: the 57"))
      .show_default();
  add("--limit", command.add("--limit", flags.limit, "Questions of each subject; 0: all"))
      .in_range(0, std::int64_t{1} << 30)
      .show_default();
  add("--style", command.add("--style", flags.style,
                             "base: five answered questions, then the likeliest letter; chat: one "
                             "question through the chat template, the letter read out of the "
                             "reply; auto: chat if the model's name has \"chat\" in it"))
      .one_of({"auto", "base", "chat"})
      .show_default();
  add("--one-by-one",
      command.add_switch("--one-by-one", flags.one_by_one,
                         "Ask each question by itself, its shots computed again: what sharing "
                         "them brings"));
  add("-o", command.add("-o,--output", flags.output,
                        "Keep the answers in this file (JSON), and go on from those in it"));
}

}  // namespace

void add_eval(CommandLine& line, CommonFlags& common) {
  const Command command =
      line.add_command("eval", "Measure quality: perplexity, distance from a reference, MMLU");
  auto flags = std::make_shared<EvalFlags>();
  auto of_task = std::make_shared<TaskFlags>();
  command.add("MODEL", flags->perplexity.models, "Models, one column of the table each").required();
  command.add("--task", flags->task, "What to measure")
      .one_of({"perplexity", "mmlu"})
      .show_default();
  add_perplexity_flags(command, flags->perplexity, *of_task);
  add_mmlu_flags(command, flags->mmlu, *of_task);
  add_compute_flags(command, flags->compute);
  add_common_flags(command, common);
  command.set_example(
      "nibble eval Llama-3.2-1B Llama-3.2-1B-w4 --task perplexity --seqlens 512,2048");
  command.check([flags, of_task] { check(*flags, *of_task); });
  command.set_action([flags, &common] { eval(*flags, common); });
}

}  // namespace nibble::cli
