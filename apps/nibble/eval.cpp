// nibble eval: what a model is worth.
#include <fmt/core.h>

#include <memory>

#include "eval_tasks.h"
#include "task_flags.h"

namespace nibble::cli {
namespace {

struct EvalFlags {
  std::vector<std::string> models;
  std::string task = "perplexity";
  std::string data;    // of the tasks with questions: a folder or a file
  std::string output;  // of the same
  PerplexityFlags perplexity;
  MmluFlags mmlu;
  HumanEvalFlags humaneval;
  std::int64_t limit = -1;  // questions; below 0: the task's default
  ComputeFlags compute;
};

void check(const EvalFlags& flags, const std::vector<TaskFlag>& task_flags) {
  refuse_flags_of_other_tasks(task_flags, flags.task);
  if (flags.task != "perplexity" && flags.models.size() > 1) {
    throw UsageError(
        fmt::format("--task {} takes one MODEL, found {}", flags.task, flags.models.size()));
  }
  const std::string& protocol = flags.perplexity.protocol;
  if (flags.perplexity.rows && (protocol == "llamacpp" || protocol == "word")) {
    throw UsageError(fmt::format("--rows: --protocol {} takes the text as it is", protocol));
  }
  if (flags.task == "humaneval" && flags.output.empty()) {
    throw UsageError("--task humaneval needs -o FILE for the completions");
  }
  check_samples(flags.humaneval);
}

void eval(EvalFlags& flags, const CommonFlags& common) {
  if (flags.task == "hellaswag" || flags.task == "winogrande") {
    eval_choices(flags.models.front(),
                 {.task = flags.task, .data = flags.data, .limit = flags.limit}, flags.compute,
                 common);
  } else if (flags.task == "mmlu") {
    if (flags.limit >= 0) flags.mmlu.limit = flags.limit;
    flags.mmlu.data = flags.data;
    flags.mmlu.output = flags.output;
    eval_mmlu(flags.models.front(), flags.mmlu, flags.compute, common);
  } else if (flags.task == "humaneval") {
    flags.humaneval.data = flags.data;
    flags.humaneval.output = flags.output;
    eval_humaneval(flags.models.front(), flags.humaneval, flags.compute, common);
  } else {
    for (const std::string& model : flags.models) flags.perplexity.columns.push_back({model});
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
                  "segments: rows joined by a newline; paper: by two, as GPTQ's and AWQ's tables; "
                  "llamacpp: the file as it is, the second half of each segment (default: of 512) "
                  "scored, as llama.cpp's tool; word: per word, documents in windows of the "
                  "model's context, as lm-evaluation-harness's wikitext"))
      .one_of({"segments", "paper", "llamacpp", "word"})
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
          command.add(
              "--seqlen", flags.seqlen,
              "Tokens of a segment (default: the protocol's, which is 2048 as a rule, or the "
              "models' shortest context)"))
          .in_range(2, kMaxLength);
  add("--seqlens", command.add_parsed(
                       "--seqlens",
                       [&flags](const std::string& text) {
                         flags.seqlens = parse_integers("--seqlens", text, 2, kMaxLength);
                       },
                       "Several lengths, with commas: a row each"))
      .excludes(seqlen);
  add("--n-segments", command.add("--n-segments", flags.n_segments,
                                  "Segments (word: documents) to measure (default: all)"))
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
  add("--subjects",
      command.add("--subjects", flags.subjects, "Subjects of MMLU, with commas, or all: the 57"))
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
}

void add_humaneval_flags(const Command& command, HumanEvalFlags& flags, TaskFlags& of_task) {
  const auto add = [&](const char* name, const Flag& flag) {
    of_task.push_back({name, flag, {"humaneval"}});
    return flag;
  };
  add("--n", command.add("--n", flags.samples, "Completions of each problem"))
      .in_range(1, 1 << 20)
      .show_default();
  add("--temperature", command.add("--temperature", flags.temperature,
                                   "Of drawing them; 0: always the most likely token"))
      .in_interval(0, 1e6)
      .show_default();
  add("--max-tokens",
      command.add("--max-tokens", flags.max_tokens, "New tokens of a completion at the most"))
      .in_range(1, std::int64_t{1} << 30)
      .show_default();
}

void add_question_flags(const Command& command, EvalFlags& flags, TaskFlags& of_task) {
  of_task.push_back({"--data",
                     command.add("--data", flags.data,
                                 "The questions: mmlu's folder, with dev/ and test/; the file of "
                                 "another task (default: under $NIBBLE_DATA)"),
                     {"mmlu", "humaneval", "hellaswag", "winogrande"}});
  of_task.push_back({"--limit",
                     command
                         .add("--limit", flags.limit,
                              "Questions, 0 for all (default: 30 of each subject of mmlu, 400 of "
                              "hellaswag, all of winogrande)")
                         .in_range(0, std::int64_t{1} << 30),
                     {"mmlu", "hellaswag", "winogrande"}});
  of_task.push_back({"-o",
                     command.add("-o,--output", flags.output,
                                 "mmlu: keep the answers in this file (JSON), and go on from those "
                                 "in it; humaneval: the completions (JSON lines)"),
                     {"mmlu", "humaneval"}});
}

}  // namespace

void add_eval(CommandLine& line, CommonFlags& common) {
  const Command command =
      line.add_command("eval", "Measure quality: perplexity, distance from a reference, questions");
  auto flags = std::make_shared<EvalFlags>();
  auto of_task = std::make_shared<TaskFlags>();
  command.add("MODEL", flags->models, "Models, one column of the table each").required();
  command.add("--task", flags->task, "What to measure")
      .one_of({"perplexity", "mmlu", "humaneval", "hellaswag", "winogrande"})
      .show_default();
  add_perplexity_flags(command, flags->perplexity, *of_task);
  add_question_flags(command, *flags, *of_task);
  add_mmlu_flags(command, flags->mmlu, *of_task);
  add_humaneval_flags(command, flags->humaneval, *of_task);
  add_compute_flags(command, flags->compute);
  add_common_flags(command, common);
  command.set_example(
      "nibble eval Llama-3.2-1B Llama-3.2-1B-w4 --task perplexity --seqlens 512,2048");
  command.check([flags, of_task] { check(*flags, *of_task); });
  command.set_action([flags, &common] { eval(*flags, common); });
}

}  // namespace nibble::cli
