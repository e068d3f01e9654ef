// MMLU: the table of subjects, categories and means.
#include <fmt/core.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "eval_tasks.h"
#include "nibble/eval/mmlu_scores.h"
#include "nibble/eval/mmlu_task.h"
#include "table.h"

namespace nibble::cli {
namespace {

MmluTask make_task(const std::string& model, const MmluFlags& flags, const ComputeFlags& compute) {
  MmluTask task{
      .model_name = model,
      .style_name = flags.name,
      .compute = compute.options(),
      .folder = flags.data.empty() ? default_mmlu_folder() : std::filesystem::path(flags.data),
      .limit = flags.limit,
      .context = compute.context,
      .one_by_one = flags.one_by_one,
      .file = flags.output};
  task.subjects = parse_mmlu_subjects(flags.subjects, task.folder);
  if (flags.style == "base") task.style = MmluStyle::kBase;
  if (flags.style == "chat") task.style = MmluStyle::kChat;
  return task;
}

std::vector<TableCell> row(std::string name, std::int64_t questions, std::int64_t correct,
                           const MmluScore& score) {
  return {std::move(name), questions, correct, TableCell(100 * score.accuracy, 2),
          score.error ? TableCell(100 * *score.error, 2) : TableCell::nothing("-")};
}

void add_means(Table& table, const MmluMeans& means, const std::string& name) {
  table.add_row(row(name, means.questions, means.correct, means.micro));
}

Table make_table(const MmluResult& result) {
  using Align = TableColumn::Align;
  Table table({{"", "subject", Align::kLeft},
               {"questions", "n"},
               {"right", "correct"},
               {"accuracy (%)", "accuracy_percent"},
               {"+- (%)", "standard_error_percent"}},
              2);
  for (const std::string& category : mmlu_categories()) {
    for (const MmluAnswers& answers : result.subjects) {
      if (answers.category != category) continue;
      table.add_row(row(answers.name, count_answered(answers), count_correct(answers),
                        subject_score(answers)));
    }
    if (result.subjects.size() == 1) continue;
    const MmluMeans means = mmlu_means(result.subjects, category);
    if (means.subjects == 0) continue;
    add_means(table, means, fmt::format("{} ({})", category, means.subjects));
    table.add_remark("");
  }
  if (result.subjects.size() == 1) return table;
  const MmluMeans all = mmlu_means(result.subjects);
  add_means(table, all, "all questions (micro)");
  table.add_row(row("mean of the subjects (macro)", all.questions, all.correct, all.macro));
  return table;
}

/// What is to be known beside the table.
std::vector<std::string> notes(const MmluResult& result) {
  std::vector<std::string> lines;
  std::int64_t unread = 0;
  std::int64_t ties = 0;
  std::int64_t fewer_shots = 0;
  for (const MmluAnswers& answers : result.subjects) {
    unread += count_unread(answers);
    ties += std::ssize(answers.ties);
    fewer_shots += answers.fewer_shots;
  }
  const std::int64_t questions = mmlu_means(result.subjects).questions;
  const bool chat = result.settings["style"] == "chat";
  lines.push_back(fmt::format(
      "asked {}; {} activations; {:.3f} bits a weight; {:.1f} questions a second",
      chat ? "in chat" : "by logits, 5 shots", result.settings["activations"].get<std::string>(),
      result.bits_per_weight, static_cast<double>(questions) / result.seconds));
  if (unread > 0) lines.push_back(fmt::format("no letter in {} replies", unread));
  if (ties > 0) lines.push_back(fmt::format("{} ties: the first letter counts", ties));
  if (fewer_shots > 0) {
    lines.push_back(
        fmt::format("{} questions with fewer shots, to fit in the context", fewer_shots));
  }
  return lines;
}

}  // namespace

void eval_mmlu(const std::string& model_name, const MmluFlags& flags, const ComputeFlags& compute,
               const CommonFlags& common) {
  const MmluTask task = make_task(model_name, flags, compute);
  ThreadPool pool(common.threads);
  Model model(locate_model(model_name), pool, task.compute);
  const MmluResult result = evaluate_mmlu(model, task);
  if (common.json) {
    print_json(mmlu_json(result));
    return;
  }
  print_table(make_table(result), flags.format);
  if (!flags.format.is_for_people()) return;
  if (flags.format.name == "markdown") print_text("\n");  // a paragraph of its own
  for (const std::string& line : notes(result)) print_text(line + "\n");
}

}  // namespace nibble::cli
