#include "nibble/bench/speed.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "bench/keep_affinity.h"
#include "bench/tiny_model.h"
#include "core/error_matchers.h"
#include "nibble/models/token_cost.h"

namespace nibble {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::make_tiny_model;
using testing::TemporaryFolder;

// Of tiny_config(), a layer: q and o 64 x 64, k and v 32 x 64, gate, up and down 96 x 64.
constexpr double kBlockWeights = 2 * 64 * 64 + 2 * 32 * 64 + 3 * 96 * 64;
constexpr double kHeadWeights = 203 * 64;

TEST(PrefillWork, AllLinearsForEveryTokenTheHeadForOne) {
  const TemporaryFolder folder;
  const Checkpoint checkpoint(make_tiny_model(folder, {}));
  const auto work = prefill_work(checkpoint, kAvx512Kernels, {}, 7);
  ASSERT_EQ(work.size(), 1u);
  EXPECT_EQ(work[0].operations, 2 * (7 * 3 * kBlockWeights + kHeadWeights));
}

TEST(PrefillWork, SplitsByInstruction) {
  const TemporaryFolder folder;
  const Checkpoint checkpoint(make_tiny_model(folder, {.quantize_head = false}));
  const auto work = prefill_work(checkpoint, kAvx512Kernels, {.dtype = DType::kF16}, 7);
  ASSERT_EQ(work.size(), 2u);
  EXPECT_THAT(work[0].peak->name, HasSubstr("VDPBF16PS"));
  EXPECT_EQ(work[0].operations, 2 * 7 * 3 * kBlockWeights);
  EXPECT_THAT(work[1].peak->name, HasSubstr("f32"));
  EXPECT_EQ(work[1].operations, 2 * kHeadWeights);
}

TEST(PrefillWork, TheHeadsInputIsNeverInt8) {
  const TemporaryFolder folder;
  const Checkpoint checkpoint(make_tiny_model(folder, {}));
  const auto work =
      prefill_work(checkpoint, kAvx512Kernels, {.activations = ActivationType::kInt8}, 7);
  ASSERT_EQ(work.size(), 2u);
  EXPECT_THAT(work[0].peak->name, HasSubstr("VPDPBUSD"));
  EXPECT_EQ(work[0].operations, 2 * 7 * 3 * kBlockWeights);
  EXPECT_THAT(work[1].peak->name, HasSubstr("VDPBF16PS"));
  EXPECT_EQ(work[1].operations, 2 * kHeadWeights);
}

TEST(PrefillJson, ComparesTheMedianWithThePeak) {
  const PrefillSpeed speed{.tokens = 100,
                           .tokens_per_second = {30, 10, 20},
                           .peak = 2e12,
                           .instruction = "dot",
                           .operations = 4e12};
  const Json json = prefill_json(speed);
  EXPECT_EQ(json["test"], "pp100");
  EXPECT_EQ(json["tokens_per_second"], Json({{"min", 10.0}, {"median", 20.0}, {"max", 30.0}}));
  EXPECT_EQ(json["limit"], 50.0);
  EXPECT_EQ(json["percent_of_limit"], 40.0);
  EXPECT_EQ(json["peak_tops"], 2.0);
}

TEST(FirstTokensJson, TellsPromptAndTokens) {
  const Json json = first_tokens_json({.prompt_seconds = 0.25, .tokens = 60, .seconds = 4});
  EXPECT_EQ(json, Json({{"prompt", kDecodeStart},
                        {"prompt_ms", 250.0},
                        {"tokens", 60},
                        {"tokens_per_second", 15.0}}));
}

TEST(DecodeJson, EachRunIsMeasuredByItsOwnReadings) {
  // 1 GB a token: limits of 40, 40 and 80 tokens a second.
  const DecodeSpeed speed{
      .tokens = 8,
      .runs = {.kept = {{39e9, 41e9, 36}, {80e9, 80e9, 60}, {40e9, 40e9, 38}}, .dropped = 4},
      .bytes_per_token = 1e9};
  const Json json = decode_json(speed);
  EXPECT_EQ(json["test"], "tg8");
  EXPECT_EQ(json["tokens_per_second"], Json({{"min", 36.0}, {"median", 38.0}, {"max", 60.0}}));
  EXPECT_EQ(json["limit"], 40.0);
  EXPECT_EQ(json["percent_of_limit"], 90.0);  // of 90, 75 and 95
  EXPECT_EQ(json["read_gbps"], 40.0);
  EXPECT_EQ(json["kept"], 3);
  EXPECT_EQ(json["dropped"], 4);
  ASSERT_EQ(json["modes"].size(), 2u);
  EXPECT_EQ(json["modes"][0], Json({{"read_gbps", 40.0},
                                    {"tokens_per_second", 37.0},
                                    {"percent_of_limit", 92.5},
                                    {"n", 2}}));
  EXPECT_EQ(json["modes"][1]["percent_of_limit"], 75.0);
  EXPECT_EQ(json["modes"][1]["n"], 1);
}

TEST(DecodeJson, NullWhereNoRunWasKept) {
  const Json json =
      decode_json({.tokens = 8, .runs = {.kept = {}, .dropped = 5}, .bytes_per_token = 1});
  EXPECT_TRUE(json["tokens_per_second"]["median"].is_null());
  EXPECT_TRUE(json["limit"].is_null());
  EXPECT_TRUE(json["percent_of_limit"].is_null());
  EXPECT_TRUE(json["read_gbps"].is_null());
  EXPECT_EQ(json["kept"], 0);
  EXPECT_EQ(json["dropped"], 5);
  EXPECT_TRUE(json["modes"].empty());
}

TEST(MeasureSpeed, RunsBothTests) {
  const testing::KeepAffinity keep;
  const TemporaryFolder folder;
  const ComputeOptions compute;
  ThreadPool pool(2);
  Model model(make_tiny_model(folder, {.bits = 3}), pool, compute);
  const SpeedReport report =
      measure_speed(model, compute, {.prompt = 9, .generate = 5, .repetitions = 2});
  ASSERT_EQ(report.first.size(), 1u);
  EXPECT_EQ(report.first[0].tokens, 5);
  EXPECT_GT(report.first[0].prompt_seconds, 0);
  EXPECT_GT(report.first[0].per_second(), 0);
  ASSERT_EQ(report.prefill.size(), 1u);
  EXPECT_EQ(report.prefill[0].tokens_per_second.size(), 2u);
  EXPECT_GT(report.prefill[0].limit(), 0);
  ASSERT_EQ(report.decode.size(), 1u);
  const DecodeSpeed& decode = report.decode[0];
  EXPECT_EQ(decode.bytes_per_token, token_cost(model.checkpoint(), DType::kBF16).bytes);
  EXPECT_LE(decode.runs.kept.size(), 2u);
  EXPECT_TRUE(decode.runs.kept.size() == 2 || decode.runs.dropped + decode.runs.kept.size() == 10);
  for (const BracketedRun& run : decode.runs.kept) EXPECT_GT(run.speed, 0);
  EXPECT_GT(report.peak_rss_bytes, 0);
}

TEST(MeasureSpeed, SeveralSequencesBesideWhatBoundsThem) {
  const testing::KeepAffinity keep;
  const TemporaryFolder folder;
  ThreadPool pool(2);
  Model model(make_tiny_model(folder, {}), pool);
  const SpeedReport report =
      measure_speed(model, {}, {.prompt = 9, .generate = 48, .sequences = 3, .repetitions = 2});
  ASSERT_EQ(report.sequences.size(), 1u);
  const SequencesSpeed& speed = report.sequences[0];
  EXPECT_EQ(speed.sequences, 3);
  EXPECT_EQ(speed.tokens, 48);
  ASSERT_EQ(speed.runs.size(), 2u);
  for (const SequencesSpeed::Run& run : speed.runs) {
    EXPECT_GT(run.speed, 0);
    EXPECT_GT(run.one, 0);
    EXPECT_GT(run.prefill, 0);
  }
}

TEST(MeasureSpeed, SequencesNeedSomethingToBeComparedWith) {
  const testing::KeepAffinity keep;
  const TemporaryFolder folder;
  ThreadPool pool(1);
  Model model(make_tiny_model(folder, {}), pool);
  const SpeedOptions options{.prompt = 0, .generate = 4, .sequences = 2};
  EXPECT_ERROR(measure_sequences(model, options), HasSubstr("2 sequences"));
}

TEST(SequencesJson, TheLowerLimitBoundsEachRun) {
  SequencesSpeed speed{.sequences = 4, .tokens = 8};
  speed.runs = {{.speed = 30, .one = 10, .prefill = 50},   // 75 % of 40
                {.speed = 30, .one = 20, .prefill = 50},   // 60 % of 50
                {.speed = 45, .one = 20, .prefill = 50}};  // 90 %
  const Json json = sequences_json(speed);
  EXPECT_EQ(json["test"], "tg8x4");
  EXPECT_EQ(json["sequences"], 4);
  EXPECT_EQ(json["tokens_per_second"]["median"], 30);
  EXPECT_EQ(json["limit"], 50);
  EXPECT_DOUBLE_EQ(json["percent_of_limit"], 75);
  EXPECT_EQ(json["one_sequence"], 20);
  EXPECT_EQ(json["prefill"], 50);
}

TEST(MeasureSpeed, ZeroTokensLeaveATestOut) {
  const testing::KeepAffinity keep;
  const TemporaryFolder folder;
  ThreadPool pool(1);
  Model model(make_tiny_model(folder, {}), pool);
  const SpeedReport report =
      measure_speed(model, {}, {.prompt = 4, .generate = 0, .repetitions = 1});
  EXPECT_EQ(report.prefill.size(), 1u);
  EXPECT_TRUE(report.decode.empty());
  EXPECT_GT(report.peak_rss_bytes, 0);
}

TEST(MeasureSpeed, RefusesMoreThanTheContext) {
  const TemporaryFolder folder;
  ThreadPool pool(1);
  Model model(make_tiny_model(folder, {}), pool);  // 64 positions
  const auto measure = [&](const SpeedOptions& options) { measure_speed(model, {}, options); };
  const SpeedOptions long_prompt{.prompt = 65};
  EXPECT_ERROR(measure(long_prompt), AllOf(HasSubstr("65 tokens (-p)"), HasSubstr("of 64")));
  const SpeedOptions long_output{.prompt = 0, .generate = 49};
  EXPECT_ERROR(measure(long_output), AllOf(HasSubstr("49 new tokens (-n)"), HasSubstr("of 64")));
  const SpeedOptions small_context{.prompt = 33, .context = 32};
  EXPECT_ERROR(measure(small_context), AllOf(HasSubstr("33"), HasSubstr("of 32")));
}

}  // namespace
}  // namespace nibble
