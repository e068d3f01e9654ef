// The latency tasks of `nibble bench --task`, `run_awq` and `run_smoothquant`: the table of the
// published result sheets, with the machine's limit under it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "flags.h"
#include "nibble/bench/latency.h"
#include "table_format.h"

namespace nibble::cli {

/// The names of the tasks, for one_of().
std::vector<std::string> latency_task_names();

/// One table to make.
struct LatencyRequest {
  std::string model;  // as the user names it
  const LatencyTask* task;
  TableFormatFlag format;
  std::string text;          // the file that prompts are cut from; "": the default one
  std::int64_t context = 0;  // positions allowed; 0: the model's
  LatencyOptions options;
};

/// The cases of a request. Throws Error if there is no text to cut them from.
LatencyCases make_latency_cases(const Model& model, const Tokenizer& tokenizer,
                                const LatencyRequest& request);
/// The table with these rows.
Table latency_table(const std::vector<LatencyRow>& rows);
/// "limit: 50.7 tokens/s ..." of a table.
std::string limit_text(const LatencyReport& report);

/// Measures; of "decode" prints the texts, if the format is for people.
LatencyReport run_latency(Model& model, const LatencyRequest& request);
/// Prints the table and the limit under it.
void print_latency(const LatencyReport& report, const TableFormatFlag& format);
/// Both; for "json" the document.
LatencyReport run_latency_task(Model& model, const LatencyRequest& request);

}  // namespace nibble::cli
