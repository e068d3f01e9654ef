#include "nibble/bench/latency.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "nibble/bench/machine.h"
#include "nibble/core/error.h"
#include "nibble/core/log.h"
#include "nibble/core/progress.h"
#include "nibble/core/stopwatch.h"
#include "nibble/models/token_cost.h"
#include "nibble/runtime/generate.h"
#include "nibble/runtime/prompt.h"

namespace nibble {
namespace {

constexpr std::string_view kPrompts[] = {"What is the meaning of life?",
                                         "Tell me something you don't know.",
                                         "What does Xilinx do?",
                                         "What is the mass of earth?",
                                         "What is a poem?",
                                         "What is recursion?",
                                         "Tell me a one line joke.",
                                         "Who is Gilgamesh?",
                                         "Tell me something about cryptocurrency.",
                                         "How did it all begin?"};

LatencyTask make_task(std::string name, std::initializer_list<std::int64_t> prompts,
                      std::initializer_list<std::int64_t> generate = {kStandardNewTokens}) {
  LatencyTask task{std::move(name), {}};
  for (const std::int64_t prompt : prompts) {
    for (const std::int64_t count : generate) task.lengths.push_back({prompt, count});
  }
  return task;
}

/// Collects the cases that fit in a context.
class CaseList {
 public:
  explicit CaseList(std::int64_t context) : context_(context) {}

  void add(std::span<const std::int32_t> prompt, std::int64_t new_tokens) {
    if (!fits(std::ssize(prompt))) return;
    // The last new token needs no position.
    const std::int64_t room = context_ - std::ssize(prompt) + 1;
    if (room < new_tokens) {
      list_.notes.push_back(fmt::format(
          "{} new tokens instead of {} after the prompt of {}: the context has {} positions", room,
          new_tokens, prompt.size(), context_));
    }
    list_.cases.push_back({{prompt.begin(), prompt.end()}, std::min(room, new_tokens)});
  }
  /// Whether a prompt of that length can be run; what cannot is noted.
  bool fits(std::int64_t prompt) {
    if (prompt < context_) return true;
    if (shortest_ == 0 || prompt < shortest_) shortest_ = prompt;
    list_.notes.push_back(fmt::format(
        "the prompt of {} tokens is left out: the context has {} positions", prompt, context_));
    return false;
  }

  LatencyCases finish() {
    if (list_.cases.empty()) {
      fail("the shortest prompt has {} tokens, but the context only {} positions", shortest_,
           context_);
    }
    return std::move(list_);
  }

 private:
  std::int64_t context_;
  std::int64_t shortest_ = 0;  // of the prompts left out
  LatencyCases list_;
};

/// Work in units of a prompt's token: a step of decode takes as long as several of them.
constexpr std::int64_t kWorkOfAStep = 5;

std::int64_t work_of(const LatencyCase& one) {
  return std::ssize(one.prompt) + kWorkOfAStep * one.new_tokens;
}

std::int64_t work_of(std::span<const LatencyCase> cases) {
  std::int64_t work = 0;
  for (const LatencyCase& one : cases) work += work_of(one);
  return work;
}

std::int64_t most_positions(std::span<const LatencyCase> cases) {
  std::int64_t most = 1;
  for (const LatencyCase& one : cases) {
    most = std::max(most, std::ssize(one.prompt) + one.new_tokens - 1);
  }
  return most;
}

class LatencyTest {
 public:
  LatencyTest(Model& model, const Tokenizer& tokenizer, std::span<const LatencyCase> cases)
      : model_(model),
        tokenizer_(tokenizer),
        cache_(model.make_cache(most_positions(cases))),
        progress_("measuring", work_of(cases), "tokens") {}

  /// Brings in the weights, and moves them to where they will stay.
  void warm_up(const LatencyCase& first) {
    std::vector<float> logits(static_cast<std::size_t>(model_.spec().vocab));
    cache_.truncate(0);
    model_.forward_last(std::span(first.prompt).first(1), cache_, logits.data());
    model_.move_weights();
    cache_.truncate(0);
    model_.forward_last(first.prompt, cache_, logits.data());
  }

  LatencyRow run(const LatencyCase& one, Profiler* profiler) {
    cache_.truncate(0);
    const ProfilerInUse in_use(model_.compute(), profiler);
    std::int64_t shown = 0;
    const Stopwatch stopwatch;
    Sequence sequence(
        tokenizer_, model_.spec(), one.prompt, cache_.capacity(),
        {.max_tokens = one.new_tokens, .sampler = {}, .stop = {}, .ignore_eos = true});
    Generation made = generate(model_, cache_, sequence, [&](std::string_view) {
      const std::int64_t done =
          std::ssize(one.prompt) + kWorkOfAStep * std::ssize(sequence.new_tokens());
      progress_.advance(done - std::exchange(shown, done));
    });
    const double total_ms = stopwatch.milliseconds();
    progress_.advance(work_of(one) - shown);
    return {.prompt_tokens = std::ssize(one.prompt),
            .new_tokens = std::ssize(made.ids),
            .total_ms = total_ms,
            .prefill_ms = made.prefill_ms,
            .ms_per_token = made.ms_per_token(),
            .text = std::move(made.text)};
  }

 private:
  Model& model_;
  const Tokenizer& tokenizer_;
  KvCache cache_;
  Progress progress_;
};

}  // namespace

const std::vector<LatencyTask>& latency_tasks() {
  static const std::vector<LatencyTask> tasks = {
      {"decode", {}},
      make_task("benchmark", {4, 8, 16, 32, 64, 128, 256}),
      make_task("benchmark_long", {512, 1024, 1536, 2000, 3000, 4000}),
      make_task("benchmark_exact", {128, 256, 512, 1024, 2048}),
      make_task("benchmark_long_output", {16, 32, 64}, {16, 32, 64, 128, 256})};
  return tasks;
}

const LatencyTask* find_latency_task(std::string_view name) {
  for (const LatencyTask& task : latency_tasks()) {
    if (task.name == name) return &task;
  }
  return nullptr;
}

std::span<const std::string_view> standard_prompts() {
  return kPrompts;
}

LatencyCases cut_prompts(std::span<const LatencyLength> lengths, std::span<const std::int32_t> ids,
                         std::int64_t context) {
  CaseList list(context);
  for (const auto& [prompt, generate] : lengths) {
    if (!list.fits(prompt)) continue;
    if (prompt > std::ssize(ids)) {
      fail("a prompt of {} tokens cannot be cut from a text that has {}", prompt, ids.size());
    }
    list.add(ids.first(static_cast<std::size_t>(prompt)), generate);
  }
  return list.finish();
}

LatencyCases encode_standard_prompts(const Model& model, const Tokenizer& tokenizer,
                                     std::int64_t context, std::size_t count) {
  CaseList list(context);
  for (const std::string_view text :
       standard_prompts().first(std::min(count, std::size(kPrompts)))) {
    list.add(encode_prompt(model, tokenizer, text, true), kStandardNewTokens);
  }
  return list.finish();
}

double LatencyReport::limit() const {
  std::vector<double> limits;
  for (const LatencyRow& row : rows) limits.push_back(limit(row));
  return median_of(std::move(limits));
}

std::optional<Spread> LatencyReport::share_of_limit() const {
  std::vector<double> shares;
  for (const LatencyRow& row : rows) {
    if (row.ms_per_token > 0) shares.push_back(row.tokens_per_second() / limit(row));
  }
  if (shares.empty()) return std::nullopt;
  return spread_of(std::move(shares));
}

LatencyReport measure_latency(Model& model, const Tokenizer& tokenizer,
                              const LatencyOptions& options, std::span<const LatencyCase> cases,
                              FunctionRef<void(const LatencyRow&)> on_row) {
  pin_threads(model.compute().pool());
  LatencyReport report{
      .bytes_per_token = token_cost(model.checkpoint(), options.compute.dtype).bytes, .rows = {}};
  LatencyTest test(model, tokenizer, cases);
  test.warm_up(cases[0]);
  // Twice what a token reads is enough to see the memory at work.
  MemoryReader reader(model.compute(), static_cast<std::size_t>(2 * report.bytes_per_token));
  double before = reader.measure();
  for (const LatencyCase& one : cases) {
    std::optional<Profiler> profiler;
    if (options.with_operators) profiler.emplace();
    LatencyRow row = test.run(one, profiler ? &*profiler : nullptr);
    if (profiler) row.operators = profiler->runs();
    row.read_after = reader.measure();
    row.read_before = std::exchange(before, row.read_after);
    verbose("{} + {} tokens: prefill {:.2f} ms, {:.3f} ms a token, memory {:.1f} GB/s",
            row.prompt_tokens, row.new_tokens, row.prefill_ms, row.ms_per_token, row.read() / 1e9);
    on_row(row);
    report.rows.push_back(std::move(row));
  }
  return report;
}

Json latency_json(const std::string& model, const std::string& task, const LatencyReport& report) {
  Json rows = Json::array();
  for (const LatencyRow& row : report.rows) {
    const bool decoded = row.ms_per_token > 0;
    rows.push_back({{"example", rows.size() + 1},
                    {"prompt_tokens", row.prompt_tokens},
                    {"new_tokens", row.new_tokens},
                    {"total_s", row.total_ms / 1e3},
                    {"prefill_ms", row.prefill_ms},
                    {"ms_per_token", decoded ? Json(row.ms_per_token) : Json(nullptr)},
                    {"tokens_per_second", decoded ? Json(row.tokens_per_second()) : Json(nullptr)},
                    {"limit", report.limit(row)}});
  }
  const auto share = report.share_of_limit();
  return {{"model", model},
          {"task", task},
          {"limit", report.limit()},
          {"percent_of_limit", share ? Json(100 * share->median) : Json(nullptr)},
          {"bytes_per_token", report.bytes_per_token},
          {"rows", std::move(rows)}};
}

}  // namespace nibble
