#include "nibble/bench/latency.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>
#include <numeric>

#include "bench/keep_affinity.h"
#include "core/error_matchers.h"
#include "nibble/models/token_cost.h"
#include "paths.h"

namespace nibble {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::int32_t> numbers(std::int32_t count) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(count));
  std::iota(ids.begin(), ids.end(), 0);
  return ids;
}

std::vector<std::int64_t> prompt_lengths(const LatencyCases& made) {
  std::vector<std::int64_t> lengths;
  for (const LatencyCase& one : made.cases) lengths.push_back(std::ssize(one.prompt));
  return lengths;
}

std::vector<std::int64_t> new_tokens(const LatencyCases& made) {
  std::vector<std::int64_t> counts;
  for (const LatencyCase& one : made.cases) counts.push_back(one.new_tokens);
  return counts;
}

const std::vector<LatencyLength>& lengths_of(const char* task) {
  return find_latency_task(task)->lengths;
}

TEST(LatencyTasks, HaveTheLengthsOfThePublishedTables) {
  const std::vector<std::int32_t> text = numbers(5000);
  EXPECT_THAT(prompt_lengths(cut_prompts(lengths_of("benchmark"), text, 8192)),
              ElementsAre(4, 8, 16, 32, 64, 128, 256));
  EXPECT_THAT(prompt_lengths(cut_prompts(lengths_of("benchmark_long"), text, 8192)),
              ElementsAre(512, 1024, 1536, 2000, 3000, 4000));
  EXPECT_THAT(prompt_lengths(cut_prompts(lengths_of("benchmark_exact"), text, 8192)),
              ElementsAre(128, 256, 512, 1024, 2048));
  const LatencyCases outputs = cut_prompts(lengths_of("benchmark_long_output"), text, 8192);
  EXPECT_THAT(prompt_lengths(outputs),
              ElementsAre(16, 16, 16, 16, 16, 32, 32, 32, 32, 32, 64, 64, 64, 64, 64));
  EXPECT_THAT(new_tokens(outputs),
              ElementsAre(16, 32, 64, 128, 256, 16, 32, 64, 128, 256, 16, 32, 64, 128, 256));
  EXPECT_EQ(find_latency_task("benchmarks"), nullptr);
  EXPECT_FALSE(find_latency_task("decode")->cuts_text());
}

TEST(CutPrompts, BeginWhereTheTextDoes) {
  const std::vector<std::int32_t> text = numbers(10);
  const LatencyCases made = cut_prompts(std::vector<LatencyLength>{{3, 60}, {10, 2}}, text, 100);
  EXPECT_THAT(made.cases[0].prompt, ElementsAre(0, 1, 2));
  EXPECT_EQ(made.cases[1].prompt, text);
  EXPECT_THAT(made.notes, IsEmpty());
}

TEST(CutPrompts, LeaveOutWhatTheContextHasNoRoomFor) {
  const std::vector<std::int32_t> text = numbers(4000);
  const LatencyCases made = cut_prompts(lengths_of("benchmark_long"), text, 2048);
  EXPECT_THAT(prompt_lengths(made), ElementsAre(512, 1024, 1536, 2000));
  EXPECT_THAT(new_tokens(made), ElementsAre(60, 60, 60, 49));  // the last needs no position
  EXPECT_THAT(made.notes,
              ElementsAre(AllOf(HasSubstr("49 new tokens"), HasSubstr("prompt of 2000")),
                          HasSubstr("prompt of 3000"), HasSubstr("prompt of 4000")));
}

TEST(CutPrompts, NothingToCutIsAnError) {
  const std::vector<std::int32_t> text = numbers(300);
  EXPECT_ERROR(cut_prompts(lengths_of("benchmark_long"), text, 2048),
               AllOf(HasSubstr("512"), HasSubstr("300")));
  EXPECT_ERROR(cut_prompts(lengths_of("benchmark"), text, 4),
               AllOf(HasSubstr("shortest prompt has 4"), HasSubstr("4 positions")));
}

TEST(LatencyReport, EachRowIsMeasuredByItsOwnReading) {
  // 1 GB a token: limits of 40, 80 and 40 tokens a second.
  LatencyReport report{.bytes_per_token = 1e9, .rows = {}};
  report.rows = {{.prompt_tokens = 4,
                  .new_tokens = 60,
                  .total_ms = 1600,
                  .prefill_ms = 100,
                  .ms_per_token = 25,
                  .read_before = 30e9,
                  .read_after = 50e9},
                 {.prompt_tokens = 8,
                  .new_tokens = 60,
                  .total_ms = 1600,
                  .prefill_ms = 100,
                  .ms_per_token = 25,
                  .read_before = 80e9,
                  .read_after = 80e9},
                 {.prompt_tokens = 16,
                  .new_tokens = 1,
                  .total_ms = 100,
                  .prefill_ms = 99,
                  .read_before = 30e9,
                  .read_after = 50e9}};
  EXPECT_EQ(report.limit(), 40);
  EXPECT_DOUBLE_EQ(report.share_of_limit()->min, 0.5);
  EXPECT_DOUBLE_EQ(report.share_of_limit()->median, 0.75);
  EXPECT_DOUBLE_EQ(report.share_of_limit()->max, 1);
  const Json json = latency_json("m", "benchmark", report);
  EXPECT_EQ(json["model"], "m");
  EXPECT_EQ(json["task"], "benchmark");
  EXPECT_EQ(json["limit"], 40);
  EXPECT_EQ(json["rows"][1], Json({{"example", 2},
                                   {"prompt_tokens", 8},
                                   {"new_tokens", 60},
                                   {"total_s", 1.6},
                                   {"prefill_ms", 100},
                                   {"ms_per_token", 25},
                                   {"tokens_per_second", 40},
                                   {"limit", 80}}));
  EXPECT_TRUE(json["rows"][2]["ms_per_token"].is_null());
  EXPECT_TRUE(json["rows"][2]["tokens_per_second"].is_null());
}

TEST(LatencyReport, WithoutDecodeThereIsNoShare) {
  LatencyReport report{.bytes_per_token = 1e9, .rows = {}};
  report.rows = {{.prompt_tokens = 4, .new_tokens = 1, .read_before = 1e9, .read_after = 1e9}};
  EXPECT_EQ(report.share_of_limit(), std::nullopt);
}

TEST(MeasureLatency, ExactlyTheTokensWantedAndTimesThatAddUp) {
  const testing::KeepAffinity keep;
  ThreadPool pool(2);
  Model model(testing::data_file("stories260K"), pool);
  const Tokenizer tokenizer = model.checkpoint().load_tokenizer();
  // This model ends a story after some 150 tokens.
  const std::vector<LatencyCase> cases = {{tokenizer.encode("Once upon a time"), 300},
                                          {tokenizer.encode("One day"), 1}};
  std::size_t rows = 0;
  const LatencyReport report =
      measure_latency(model, tokenizer, {}, cases, [&](const LatencyRow&) { ++rows; });
  EXPECT_EQ(rows, 2u);
  EXPECT_EQ(report.bytes_per_token, token_cost(model.checkpoint(), DType::kBF16).bytes);
  const LatencyRow& row = report.rows[0];
  EXPECT_EQ(row.prompt_tokens, std::ssize(cases[0].prompt));
  EXPECT_EQ(row.new_tokens, 300);
  EXPECT_THAT(row.text, HasSubstr("there was a little"));
  EXPECT_GT(row.prefill_ms, 0);
  EXPECT_GT(row.read(), 0);
  EXPECT_DOUBLE_EQ(row.tokens_per_second(), 1000 / row.ms_per_token);
  EXPECT_GE(row.total_ms, row.prefill_ms + 299 * row.ms_per_token);
  EXPECT_EQ(report.rows[1].new_tokens, 1);
  EXPECT_EQ(report.rows[1].ms_per_token, 0);
}

TEST(StandardPrompts, AreTenAndBeginAsTheModelDoes) {
  ThreadPool pool(1);
  const Model model(testing::data_file("stories260K"), pool);
  const Tokenizer tokenizer = model.checkpoint().load_tokenizer();
  const LatencyCases made = encode_standard_prompts(model, tokenizer, 512);
  ASSERT_EQ(made.cases.size(), 10u);
  EXPECT_EQ(made.cases[4].prompt, tokenizer.encode("What is a poem?"));
  EXPECT_EQ(made.cases[4].prompt[0], tokenizer.bos_id());
  EXPECT_EQ(made.cases[4].new_tokens, 60);
  EXPECT_EQ(encode_standard_prompts(model, tokenizer, 512, 3).cases.size(), 3u);
}

}  // namespace
}  // namespace nibble
