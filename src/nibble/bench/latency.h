// How long completions take as a user meets them: the ten standard prompts, or prompts cut from a
// text, a row each. Rows and tasks are those of the published result sheets.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nibble/bench/statistics.h"
#include "nibble/core/function_ref.h"
#include "nibble/core/json.h"
#include "nibble/ops/profiler.h"
#include "nibble/runtime/model.h"
#include "nibble/tokenizer/tokenizer.h"

namespace nibble {

/// Tokens of a prompt and new tokens after it.
struct LatencyLength {
  std::int64_t prompt;
  std::int64_t generate;
};

/// What a table is made of: standard_prompts(), or lengths to cut from a text.
struct LatencyTask {
  std::string name;
  std::vector<LatencyLength> lengths;  // empty: the standard prompts

  bool cuts_text() const { return !lengths.empty(); }
};

/// "decode", "benchmark", "benchmark_long", "benchmark_exact", "benchmark_long_output".
const std::vector<LatencyTask>& latency_tasks();
/// The task of that name, or null.
const LatencyTask* find_latency_task(std::string_view name);

/// The prompts of "decode", 60 new tokens each.
std::span<const std::string_view> standard_prompts();
inline constexpr std::int64_t kStandardNewTokens = 60;

/// One completion to time.
struct LatencyCase {
  std::vector<std::int32_t> prompt;
  std::int64_t new_tokens;
};

/// What fits in a context, and what does not.
struct LatencyCases {
  std::vector<LatencyCase> cases;
  std::vector<std::string> notes;  // rows left out or with fewer new tokens
};

/// Prompts of these lengths from the beginning of a text, whose tokens `ids` are. Those that are
/// not below `context` are left out; of others, new tokens that it has no room for. Throws Error if
/// none is left, or if the text is too short.
LatencyCases cut_prompts(std::span<const LatencyLength> lengths, std::span<const std::int32_t> ids,
                         std::int64_t context);
/// The first `count` standard prompts as this model and tokenizer begin with them; likewise.
LatencyCases encode_standard_prompts(const Model& model, const Tokenizer& tokenizer,
                                     std::int64_t context, std::size_t count = SIZE_MAX);

/// A completion, timed. What is cut from a published table has these columns.
struct LatencyRow {
  std::int64_t prompt_tokens = 0;
  std::int64_t new_tokens = 0;
  double total_ms = 0;      // from the prompt's tokens to the last new one, sampling included
  double prefill_ms = 0;    // the first forward pass, over the whole prompt
  double ms_per_token = 0;  // of the passes after it; 0 if there are none
  double read_before = 0;   // bytes a second of this machine's memory
  double read_after = 0;
  std::string text;
  std::vector<OperatorRun> operators;  // of all passes, if they were asked for

  double read() const { return (read_before + read_after) / 2; }

  /// Of decode; 0 if there is none.
  double tokens_per_second() const { return ms_per_token > 0 ? 1000 / ms_per_token : 0; }
};

struct LatencyReport {
  double bytes_per_token = 0;  // of weights
  std::vector<LatencyRow> rows;

  /// Tokens a second if reading the weights were all there is to do, at the row's bandwidth.
  double limit(const LatencyRow& row) const { return row.read() / bytes_per_token; }
  /// The median of the rows'.
  double limit() const;
  /// How much of its limit each row with decode reaches, 1 for all of it; nothing if none has any.
  std::optional<Spread> share_of_limit() const;
};

struct LatencyOptions {
  ComputeOptions compute;       // as the model has them
  bool with_operators = false;  // LatencyRow::operators
};

/// Times the cases one after the other, greedily and past any EOS, so that exactly the new tokens
/// come that are wanted; calls `on_row` after each. Pins the threads of the model, the calling one
/// too, where there is a core for each. Weights are brought in before. Throws Error as generate().
LatencyReport measure_latency(Model& model, const Tokenizer& tokenizer,
                              const LatencyOptions& options, std::span<const LatencyCase> cases,
                              FunctionRef<void(const LatencyRow&)> on_row);

/// {"model", "task", "limit", "rows": [{"example", "prompt_tokens", "new_tokens", "total_s",
/// "prefill_ms", "ms_per_token", "tokens_per_second", "limit"}]}; ms_per_token and
/// tokens_per_second are null without decode, limits are of tokens a second.
Json latency_json(const std::string& model, const std::string& task, const LatencyReport& report);

}  // namespace nibble
