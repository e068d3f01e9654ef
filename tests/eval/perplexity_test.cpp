// Perplexity and divergence against what torch computes for the same text
// (fixtures/make_fixtures.py).
#include "nibble/eval/perplexity.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error_matchers.h"
#include "core/temporary_folder.h"
#include "nibble/core/mapped_file.h"
#include "nibble/kernels/select.h"
#include "nibble/quant/pipeline.h"
#include "paths.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using ::nibble::testing::TemporaryFolder;
using ::nibble::testing::write_file;
using ::testing::AllOf;
using ::testing::HasSubstr;

const fs::path kStories = testing::data_file("stories260K");
constexpr ComputeOptions kF32{.activations = ActivationType::kF32, .kv = KvType::kF32};

const Json& expected() {
  static const Json json = read_json_file(testing::test_file("eval/fixtures/expected.json"));
  return json;
}

const std::vector<std::int32_t>& story_tokens() {
  static const std::vector<std::int32_t> tokens = [] {
    const std::string text = read_text_file(testing::data_file("stories.txt"));
    return load_tokenizer(kStories).encode(text.substr(0, expected()["characters"]));
  }();
  return tokens;
}

PerplexityResult measure(Model& model, const PerplexityOptions& options) {
  return measure_perplexity(model, story_tokens(), options, [](const PerplexityResult&) {});
}

/// 0.01 % of a perplexity is an nll's 1e-4.
void expect_nll(const PerplexityResult& result, const Json& reference) {
  EXPECT_EQ(result.seqlen, reference["seqlen"]);
  EXPECT_EQ(result.segments, reference["segments"]);
  EXPECT_NEAR(result.nll, reference["nll"].get<double>(), 1e-4);
  EXPECT_DOUBLE_EQ(result.perplexity(), std::exp(result.nll));
}

TEST(Perplexity, OfTheTextsTokens) {
  EXPECT_EQ(story_tokens().size(), expected()["tokens"]);
}

TEST(PerplexitySlow, IsTheReferences) {
  ThreadPool pool;
  Model model(kStories, pool, kF32);
  for (const Json& reference : expected()["dense"]) {
    const std::int64_t seqlen = reference["seqlen"];
    const std::int64_t segments = reference["segments"];
    const auto all = static_cast<std::int64_t>(story_tokens().size()) / seqlen;
    expect_nll(measure(model, {.seqlen = seqlen, .max_segments = segments == all ? 0 : segments}),
               reference);
  }
}

TEST(PerplexitySlow, ByDefaultIsNear) {
  ThreadPool pool;
  Model model(kStories, pool);
  const PerplexityResult result = measure(model, {.seqlen = 512});
  EXPECT_NEAR(result.nll, expected()["dense"][0]["nll"].get<double>(), 5e-3);
}

TEST(PerplexitySlow, DivergenceOfAQuantizedModelIsTheReferences) {
  const TemporaryFolder folder;
  {
    const Checkpoint checkpoint(kStories);
    ThreadPool pool(2);
    Compute compute(select_kernels(), pool);
    quantize_model(checkpoint, plan_quantization(checkpoint.spec(), {.group_size = 32}), compute,
                   {.path = folder / "w4"});
  }
  ThreadPool pool;
  Model reference(kStories, pool, kF32);
  Model model(folder / "w4", pool, kF32);
  const PerplexityResult result = measure(model, {.seqlen = 256, .reference = &reference});
  const Json& torch = expected()["w4_g32"];
  expect_nll(result, torch);
  // The sum over the vocabulary is of float32 probabilities, each within 2^-20.
  EXPECT_NEAR(result.kl_divergence, torch["kl_divergence"].get<double>(), 1e-5);
  // Two logits that are equal but for rounding may swap: in two positions at most.
  const double positions = 23 * 255;
  EXPECT_NEAR(result.top1_agreement, torch["top1_agreement"].get<double>(), 2.5 / positions);
}

TEST(Perplexity, AModelDoesNotDivergeFromItself) {
  ThreadPool pool;
  Model model(kStories, pool);
  Model same(kStories, pool);
  const PerplexityResult result =
      measure(model, {.seqlen = 64, .max_segments = 3, .reference = &same});
  EXPECT_NEAR(result.kl_divergence, 0, 1e-12);
  EXPECT_EQ(result.top1_agreement, 1);
}

TEST(Perplexity, ReportsEverySegment) {
  ThreadPool pool;
  Model model(kStories, pool, kF32);
  std::vector<PerplexityResult> seen;
  const PerplexityOptions options{.seqlen = 20, .max_segments = 3};
  const PerplexityResult last =
      measure_perplexity(model, story_tokens(), options,
                         [&](const PerplexityResult& result) { seen.push_back(result); });
  ASSERT_EQ(seen.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(seen[i].segments, static_cast<std::int64_t>(i) + 1);
    // A running value is that of so many segments.
    const PerplexityResult alone =
        measure(model, {.seqlen = 20, .max_segments = static_cast<std::int64_t>(i) + 1});
    EXPECT_EQ(seen[i].nll, alone.nll);
  }
  EXPECT_EQ(last.nll, seen[2].nll);
}

TEST(Perplexity, DoesNotDependOnThreads) {
  const auto nll = [](int threads) {
    ThreadPool pool(threads);
    Model model(kStories, pool);
    return measure(model, {.seqlen = 100, .max_segments = 2}).nll;
  };
  const double one = nll(1);
  EXPECT_EQ(nll(2), one);
  EXPECT_EQ(nll(3), one);
}

TEST(Perplexity, CountsSegments) {
  EXPECT_EQ(segment_count(1000, {.seqlen = 100}), 10);
  EXPECT_EQ(segment_count(1099, {.seqlen = 100}), 10);
  EXPECT_EQ(segment_count(99, {.seqlen = 100}), 0);
  EXPECT_EQ(segment_count(1000, {.seqlen = 100, .max_segments = 3}), 3);
  EXPECT_EQ(segment_count(1000, {.seqlen = 100, .max_segments = 30}), 10);
}

TEST(Perplexity, RefusesWhatCannotBeMeasured) {
  ThreadPool pool;
  Model model(kStories, pool);
  const std::vector<std::int32_t> ten(10, 5);
  const auto run = [&](const std::vector<std::int32_t>& tokens, const PerplexityOptions& options) {
    measure_perplexity(model, tokens, options, [](const PerplexityResult&) {});
  };
  EXPECT_ERROR(run(ten, {.seqlen = 1}), HasSubstr("found 1"));
  EXPECT_ERROR(run(ten, {.seqlen = -5}), HasSubstr("found -5"));
  EXPECT_ERROR(run(ten, {.seqlen = 513}), AllOf(HasSubstr("513"), HasSubstr("context of 512")));
  EXPECT_ERROR(run(ten, {.seqlen = 11}), AllOf(HasSubstr("10 tokens"), HasSubstr("11")));
  EXPECT_ERROR(run({}, {.seqlen = 2}), HasSubstr("0 tokens"));
  EXPECT_ERROR(run(std::vector<std::int32_t>(10, 512), {.seqlen = 10}), HasSubstr("512"));
  EXPECT_NO_THROW(run(ten, {.seqlen = 10}));
}

TEST(Perplexity, RefusesAReferenceThatCannotBeCompared) {
  ThreadPool pool;
  Model model(kStories, pool);
  Model other(testing::test_file("models/fixtures/untied_gqa"), pool);
  EXPECT_ERROR(measure(model, {.seqlen = 64, .reference = &other}),
               AllOf(HasSubstr("101"), HasSubstr("512")));
  const TemporaryFolder folder;
  fs::copy_file(kStories / "model.safetensors", folder / "model.safetensors");
  Json config = read_json_file(kStories / "config.json");
  config["max_position_embeddings"] = 32;
  write_file(folder / "config.json", config.dump());
  Model shorter(folder.path(), pool);
  EXPECT_ERROR(measure(model, {.seqlen = 64, .reference = &shorter}),
               AllOf(HasSubstr("reference"), HasSubstr("32")));
}

}  // namespace
}  // namespace nibble
