#include "nibble/bench/profile.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "bench/keep_affinity.h"
#include "bench/tiny_model.h"
#include "core/error_matchers.h"
#include "nibble/bench/speed.h"
#include "nibble/models/token_cost.h"

namespace nibble {
namespace {

using ::testing::AllOf;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::make_tiny_model;
using testing::TemporaryFolder;

/// Two passes of 1 ms: in each the embedding, then "mul" in layers 0 and 1; 0.5 ms in all outside.
ProfiledPhase two_passes() {
  ProfiledPhase phase{.tokens = 1, .passes = {{0, 1000}, {1000, 1000}}};
  for (const double start : {100.0, 1100.0}) {
    phase.runs.push_back({.name = "embedding", .layer = -1, .start_us = start, .duration_us = 50});
    for (const std::int64_t layer : {0, 1}) {
      phase.runs.push_back({.name = "mul",
                            .layer = layer,
                            .start_us = start + 100 + 400 * static_cast<double>(layer),
                            .duration_us = 350,
                            .bytes = 700e3,
                            .operations = 1.4e6});
    }
  }
  return phase;
}

double sum(const std::vector<OperatorTotal>& totals, double OperatorTotal::*field) {
  double all = 0;
  for (const OperatorTotal& total : totals) {
    if (total.name != "attention") all += total.*field;
  }
  return all;
}

std::vector<std::string> names(const std::vector<OperatorTotal>& totals) {
  std::vector<std::string> all;
  for (const OperatorTotal& total : totals) all.push_back(total.name);
  return all;
}

TEST(OperatorTotals, AreThoseOfOnePass) {
  const auto totals = operator_totals(two_passes());
  ASSERT_EQ(totals.size(), 2u);
  EXPECT_EQ(totals[0].name, "embedding");
  EXPECT_EQ(totals[0].calls, 1);
  EXPECT_DOUBLE_EQ(totals[0].ms, 0.05);
  EXPECT_EQ(totals[0].bytes_per_second(), 0);
  EXPECT_EQ(totals[1].name, "mul");
  EXPECT_EQ(totals[1].calls, 2);
  EXPECT_DOUBLE_EQ(totals[1].ms, 0.7);
  EXPECT_DOUBLE_EQ(totals[1].bytes, 1.4e6);
  EXPECT_DOUBLE_EQ(totals[1].bytes_per_second(), 2e9);
  EXPECT_DOUBLE_EQ(totals[1].operations_per_second(), 4e9);
}

TEST(LayerTotals, WhatIsOutsideTheBlocksComesLast) {
  const auto totals = layer_totals(two_passes());
  ASSERT_EQ(totals.size(), 3u);
  EXPECT_EQ(totals[0].layer, 0);
  EXPECT_EQ(totals[1].layer, 1);
  EXPECT_EQ(totals[2].layer, -1);
  EXPECT_DOUBLE_EQ(totals[1].ms, 0.35);
  EXPECT_DOUBLE_EQ(totals[2].ms, 0.05);
  EXPECT_DOUBLE_EQ(outside_ms(two_passes()), 0.25);
}

TEST(ProfileJson, ComparesWithTheMachine) {
  const ProfileReport report{.prefill = two_passes(),
                             .decode = two_passes(),
                             .peak = 16e9,
                             .instruction = "dot",
                             .read_bandwidth = 8e9,
                             .bandwidth_held = true};
  const Json json = profile_json(report);
  EXPECT_EQ(json["read_gbps"], 8.0);
  EXPECT_EQ(json["bandwidth_held"], true);
  const Json& decode = json["decode"];
  EXPECT_EQ(decode["passes"], 2);
  EXPECT_EQ(decode["ms_per_pass"], 1.0);
  EXPECT_EQ(decode["tokens_per_second"], 1000.0);
  EXPECT_DOUBLE_EQ(decode["operators"][1]["percent"], 70);
  EXPECT_DOUBLE_EQ(decode["operators"][1]["percent_of_bandwidth"], 25);
  EXPECT_DOUBLE_EQ(decode["operators"][1]["percent_of_peak"], 25);
  EXPECT_DOUBLE_EQ(decode["outside_operators"]["percent"], 25);
  EXPECT_TRUE(decode["layers"][2]["layer"].is_null());
}

TEST(ProfileJson, NullWhereDecodeWasLeftOut) {
  const ProfileReport report{.prefill = two_passes(), .peak = 1e9, .instruction = "dot"};
  const Json json = profile_json(report);
  EXPECT_TRUE(json["decode"].is_null());
  EXPECT_TRUE(json["read_gbps"].is_null());
  EXPECT_FALSE(json["prefill"]["operators"][1].contains("percent_of_bandwidth"));
}

/// A completion of 1 prompt in two passes and 2 steps, all of two operators.
LatencyRow timed_completion() {
  LatencyRow row{.prompt_tokens = 600, .new_tokens = 3, .prefill_ms = 5};
  for (const double start : {100.0, 2000.0, 6000.0, 9000.0}) {
    row.operators.push_back(
        {.name = "embedding", .layer = -1, .start_us = start, .duration_us = 50});
    row.operators.push_back(
        {.name = "mul", .layer = 0, .start_us = start + 100, .duration_us = 350});
  }
  return row;
}

TEST(PhasesOf, ACompletionsOperatorsBelongToItsPasses) {
  const CompletionPhases phases = phases_of(timed_completion());
  EXPECT_EQ(phases.prefill.tokens, 600);
  ASSERT_EQ(phases.prefill.passes.size(), 1u);
  EXPECT_EQ(phases.prefill.passes[0].duration_us, 5000);
  EXPECT_EQ(operator_totals(phases.prefill)[1].calls, 2);
  EXPECT_EQ(phases.decode.tokens, 1);
  ASSERT_EQ(phases.decode.passes.size(), 2u);
  EXPECT_EQ(phases.decode.passes[1].start_us, 9000);
  EXPECT_EQ(phases.decode.passes[1].duration_us, 450);
  EXPECT_EQ(operator_totals(phases.decode)[1].calls, 1);
}

TEST(PhasesOf, WithoutStepsOrOperatorsThereIsNoDecode) {
  LatencyRow row = timed_completion();
  row.new_tokens = 1;
  EXPECT_EQ(phases_of(row).prefill.runs.size(), 8u);
  EXPECT_TRUE(phases_of(row).decode.passes.empty());
  row.operators.clear();
  EXPECT_TRUE(phases_of(row).prefill.passes.empty());
}

TEST(ChromeTrace, HasARowOfPassesLayersAndOperators) {
  const ProfileReport report{.prefill = two_passes(), .decode = two_passes()};
  const Json trace = Json::parse(chrome_trace(report));
  std::vector<Json> rows[4];  // by tid
  for (const Json& event : trace["traceEvents"]) {
    EXPECT_TRUE(event["ph"] == "X" || event["ph"] == "M");
    if (event["ph"] == "X") rows[event["tid"].get<std::size_t>()].push_back(event);
  }
  ASSERT_EQ(rows[1].size(), 4u);
  EXPECT_EQ(rows[1][1]["name"], "prefill");
  EXPECT_EQ(rows[1][2]["name"], "decode");
  EXPECT_EQ(rows[1][2]["ts"], 2000.0);  // where prefill ended
  EXPECT_EQ(rows[1][2]["dur"], 1000.0);
  ASSERT_EQ(rows[2].size(), 8u);
  EXPECT_EQ(rows[2][1]["name"], "layer 1");
  EXPECT_EQ(rows[2][1]["ts"], 600.0);
  EXPECT_EQ(rows[2][1]["dur"], 350.0);
  ASSERT_EQ(rows[3].size(), 12u);
  EXPECT_EQ(rows[3][1]["name"], "mul");
  EXPECT_EQ(rows[3][1]["args"], Json({{"layer", 0}, {"bytes", 700e3}, {"operations", 1.4e6}}));
}

TEST(Profile, CountsWhatTheModelReadsAndComputes) {
  const testing::KeepAffinity keep;
  const TemporaryFolder folder;
  const ComputeOptions compute;
  ThreadPool pool(2);
  Model model(make_tiny_model(folder, {}), pool, compute);
  const ProfileReport report = profile(model, compute, {.prompt = 9, .generate = 5});

  const auto prefill = operator_totals(report.prefill);
  EXPECT_THAT(names(prefill), ::testing::IsSupersetOf({"q k v", "attention", "o", "head"}));
  const auto work = prefill_work(model.checkpoint(), model.compute().kernels(), compute, 9);
  EXPECT_THAT(sum(prefill, &OperatorTotal::operations), DoubleNear(work[0].operations, 1e-6));

  ASSERT_EQ(report.decode.passes.size(), 5u);
  const auto decode = operator_totals(report.decode);
  EXPECT_THAT(sum(decode, &OperatorTotal::bytes),
              DoubleNear(token_cost(model.checkpoint(), DType::kBF16).bytes, 1e-6));
  const auto attention = std::find_if(decode.begin(), decode.end(), [](const OperatorTotal& total) {
    return total.name == "attention";
  });
  ASSERT_NE(attention, decode.end());
  EXPECT_EQ(attention->calls, 3);
  // Positions 10 to 14, 12 on average: keys and values of 2 heads of 16 in bf16, in 3 layers.
  EXPECT_DOUBLE_EQ(attention->bytes, 12 * 3 * 2 * 2 * 16 * 2);

  std::vector<std::int64_t> layers;
  for (const LayerTotal& total : layer_totals(report.decode)) layers.push_back(total.layer);
  EXPECT_THAT(layers, ElementsAre(0, 1, 2, -1));
  EXPECT_GE(outside_ms(report.decode), 0);
  EXPECT_GT(report.peak, 0);
  EXPECT_GT(report.read_bandwidth, 0);
  EXPECT_EQ(model.compute().profiler(), nullptr);
}

TEST(Profile, ZeroStepsLeaveDecodeOut) {
  const testing::KeepAffinity keep;
  const TemporaryFolder folder;
  ThreadPool pool(1);
  Model model(make_tiny_model(folder, {}), pool);
  const ProfileReport report = profile(model, {}, {.prompt = 3, .generate = 0});
  EXPECT_EQ(report.prefill.passes.size(), 1u);
  EXPECT_TRUE(report.decode.passes.empty());
}

TEST(Profile, RefusesMoreThanTheContext) {
  const TemporaryFolder folder;
  ThreadPool pool(1);
  Model model(make_tiny_model(folder, {}), pool);  // 64 positions
  const auto measure = [&](const ProfileOptions& options) { profile(model, {}, options); };
  const ProfileOptions long_prompt{.prompt = 65, .generate = 0};
  EXPECT_ERROR(measure(long_prompt), AllOf(HasSubstr("65 tokens (-p)"), HasSubstr("of 64")));
  const ProfileOptions long_output{.prompt = 33, .generate = 32};
  EXPECT_ERROR(measure(long_output), AllOf(HasSubstr("32 new tokens (-n)"), HasSubstr("of 64")));
  const ProfileOptions small_context{.prompt = 30, .generate = 3, .context = 32};
  EXPECT_ERROR(measure(small_context), HasSubstr("context of 32"));
}

}  // namespace
}  // namespace nibble
