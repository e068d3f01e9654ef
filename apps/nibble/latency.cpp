#include "latency.h"

#include <fmt/core.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "command.h"
#include "nibble/core/log.h"
#include "nibble/core/progress.h"
#include "nibble/eval/text.h"

namespace nibble::cli {
namespace {

namespace fs = std::filesystem;

void print_completion(const std::string_view prompt, const LatencyRow& row) {
  hide_progress();
  print_text(fmt::format("{:*<40}\n{}{}\n", "", prompt, row.text));
}

}  // namespace

std::vector<std::string> latency_task_names() {
  std::vector<std::string> names;
  for (const LatencyTask& task : latency_tasks()) names.push_back(task.name);
  return names;
}

LatencyCases make_latency_cases(const Model& model, const Tokenizer& tokenizer,
                                const LatencyRequest& request) {
  const std::int64_t context = request.context > 0 ? request.context : model.spec().context;
  LatencyCases made;
  if (request.task->cuts_text()) {
    const fs::path file = request.text.empty() ? default_evaluation_text() : fs::path(request.text);
    const std::string text = read_evaluation_text(file, PerplexityProtocol::kSegments, false);
    made = cut_prompts(request.task->lengths, tokenizer.encode(text), context);
  } else {
    made = encode_standard_prompts(model, tokenizer, context);
  }
  for (const std::string& note : made.notes) warn("{}", note);
  return made;
}

Table latency_table(const std::vector<LatencyRow>& rows) {
  Table table({{"Example#", "example"},
               {"Prompt Length (tokens)", "prompt_tokens"},
               {"New Tokens Generated", "new_tokens"},
               {"Total Time (s)", "total_s"},
               {"Prefill Phase (ms)", "prefill_ms"},
               {"Time/Token (ms)", "ms_per_token"},
               {"Tokens/Sec", "tokens_per_second"}},
              2);
  std::int64_t example = 0;
  for (const LatencyRow& row : rows) {
    std::vector<TableCell> cells = {++example,
                                    row.prompt_tokens,
                                    row.new_tokens,
                                    {row.total_ms / 1e3, 4},
                                    {row.prefill_ms, 3},
                                    TableCell::nothing("-"),
                                    TableCell::nothing("-")};
    if (row.ms_per_token > 0) {
      cells[5] = {row.ms_per_token, 3};
      cells[6] = {row.tokens_per_second(), 3};
    }
    table.add_row(std::move(cells));
  }
  return table;
}

std::string limit_text(const LatencyReport& report) {
  const double limit = report.limit();
  std::string text =
      fmt::format("limit: {:.2f} tokens/s ({:.1f} GB/s read, {} of weights a token)", limit,
                  limit * report.bytes_per_token / 1e9, human_bytes(report.bytes_per_token));
  if (const auto share = report.share_of_limit()) {
    text += fmt::format("; {:.1f} % of it reached ({:.1f} to {:.1f} % over the rows)",
                        100 * share->median, 100 * share->min, 100 * share->max);
  }
  return text;
}

LatencyReport run_latency(Model& model, const LatencyRequest& request) {
  const Tokenizer tokenizer = model.checkpoint().load_tokenizer();
  const LatencyCases cases = make_latency_cases(model, tokenizer, request);
  const bool show_text = !request.task->cuts_text() && request.format.is_for_people();
  std::size_t done = 0;
  LatencyReport report =
      measure_latency(model, tokenizer, request.options, cases.cases, [&](const LatencyRow& row) {
        if (show_text) print_completion(standard_prompts()[done++], row);
      });
  if (show_text) print_text(fmt::format("{:*<40}\n\n", ""));
  return report;
}

void print_latency(const LatencyReport& report, const TableFormatFlag& format) {
  print_table(latency_table(report.rows), format);
  const std::string limit = limit_text(report);
  if (format.is_for_people()) {
    print_text("\n" + limit + "\n");
  } else {
    log_message(LogLevel::kNormal, limit);
  }
}

LatencyReport run_latency_task(Model& model, const LatencyRequest& request) {
  LatencyReport report = run_latency(model, request);
  if (request.format.name == "json") {
    print_json(latency_json(request.model, request.task->name, report));
  } else {
    print_latency(report, request.format);
  }
  return report;
}

}  // namespace nibble::cli
