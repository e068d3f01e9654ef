// Perplexity and divergence against what torch computes for the same text
// (fixtures/make_fixtures.py).
#include "nibble/eval/perplexity.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error_matchers.h"
#include "core/temporary_folder.h"
#include "eval/fixtures.h"
#include "nibble/core/mapped_file.h"
#include "nibble/eval/protocols.h"
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

struct Segments {
  std::int64_t seqlen;
  std::int64_t count = 0;  // 0: all
  Model* reference = nullptr;
};

PerplexityResult measure(Model& model, const Segments& segments) {
  return measure_perplexity(model, segment_windows(story_tokens(), segments.seqlen, segments.count),
                            segments.reference, [](const PerplexityResult&) {});
}

/// 0.01 % of a perplexity is an nll's 1e-4.
void expect_nll(const PerplexityResult& result, const Json& reference) {
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
    expect_nll(measure(model, {.seqlen = seqlen, .count = segments == all ? 0 : segments}),
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
  const PerplexityResult result = measure(model, {.seqlen = 64, .count = 3, .reference = &same});
  EXPECT_NEAR(result.kl_divergence, 0, 1e-12);
  EXPECT_EQ(result.top1_agreement, 1);
}

TEST(Perplexity, ReportsEverySegment) {
  ThreadPool pool;
  Model model(kStories, pool, kF32);
  std::vector<PerplexityResult> seen;
  const PerplexityResult last =
      measure_perplexity(model, segment_windows(story_tokens(), 20, 3), nullptr,
                         [&](const PerplexityResult& result) { seen.push_back(result); });
  ASSERT_EQ(seen.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(seen[i].segments, static_cast<std::int64_t>(i) + 1);
    // A running value is that of so many segments.
    const PerplexityResult alone =
        measure(model, {.seqlen = 20, .count = static_cast<std::int64_t>(i) + 1});
    EXPECT_NEAR(seen[i].nll, alone.nll, 1e-5);
  }
  EXPECT_EQ(last.nll, seen[2].nll);
}

// Windows of any lengths that share passes, and a reference's that do, give what each gives alone.
TEST(Perplexity, WindowsShareAPass) {
  ThreadPool pool;
  Model model(kStories, pool, kF32);
  Model reference(kStories, pool);
  const std::vector<std::int32_t>& tokens = story_tokens();
  std::vector<ScoredWindow> windows;
  for (std::int64_t at = 0, i = 0; i < 100; ++i) {
    const std::int64_t length = 2 + i * 7 % 40;
    windows.push_back({{tokens.begin() + at, tokens.begin() + at + length},
                       1 + i % 3 * (length / 4),
                       i % 5 == 0 ? 0 : length});
    at += length;
  }
  windows.insert(windows.begin() + 50, {{tokens.begin(), tokens.begin() + 400}, 7, 393});
  PerplexityResult sum;
  double positions = 0;
  for (const ScoredWindow& window : windows) {
    ScoredWindow one = window;
    one.units = 1;
    const PerplexityResult alone =
        measure_perplexity(model, {&one, 1}, &reference, [](const PerplexityResult&) {});
    const auto scored = static_cast<double>(std::ssize(window.tokens) - window.first);
    sum.nll += alone.nll;
    sum.kl_divergence += alone.kl_divergence * scored;
    sum.top1_agreement += alone.top1_agreement * scored;
    sum.units += window.units;
    positions += scored;
  }
  std::int64_t segments = 0;
  const PerplexityResult all =
      measure_perplexity(model, windows, &reference, [&](const PerplexityResult&) { ++segments; });
  EXPECT_EQ(segments, 81);
  EXPECT_EQ(all.segments, 81);
  EXPECT_EQ(all.units, sum.units);
  EXPECT_NEAR(all.nll, sum.nll / static_cast<double>(sum.units), 1e-5);
  EXPECT_NEAR(all.kl_divergence, sum.kl_divergence / positions, 1e-4);
  EXPECT_NEAR(all.top1_agreement, sum.top1_agreement / positions, 2.5 / positions);
}

TEST(Perplexity, DoesNotDependOnThreads) {
  const auto nll = [](int threads) {
    ThreadPool pool(threads);
    Model model(kStories, pool);
    return measure(model, {.seqlen = 100, .count = 2}).nll;
  };
  const double one = nll(1);
  EXPECT_EQ(nll(2), one);
  EXPECT_EQ(nll(3), one);
}

// A token is as likely whichever window it is in, if it sees the same tokens.
TEST(Perplexity, OfAWindowFromSomeTokenOn) {
  ThreadPool pool;
  Model model(kStories, pool, kF32);
  const std::vector<std::int32_t> tokens(story_tokens().begin(), story_tokens().begin() + 30);
  const auto nll = [&](std::int64_t first, std::int64_t units) {
    const ScoredWindow window{tokens, first, units};
    return measure_perplexity(model, {&window, 1}, nullptr, [](const PerplexityResult&) {}).nll;
  };
  const double all = nll(1, 1);
  EXPECT_GT(nll(20, 1), 0);
  EXPECT_LT(nll(20, 1), all);
  EXPECT_NEAR(nll(1, 29), all / 29, 1e-12);
  const std::vector<std::int32_t> shorter(tokens.begin(), tokens.begin() + 20);
  const std::vector<ScoredWindow> parts = {{shorter, 1, 0}, {tokens, 20, 1}};
  std::int64_t segments = 0;
  const PerplexityResult both =
      measure_perplexity(model, parts, nullptr, [&](const PerplexityResult&) { ++segments; });
  EXPECT_EQ(segments, 1);
  EXPECT_EQ(both.segments, 1);
  EXPECT_NEAR(both.nll, all, 1e-3);
}

TEST(Perplexity, RefusesWhatCannotBeMeasured) {
  ThreadPool pool;
  Model model(kStories, pool);
  const auto run = [&](const std::vector<ScoredWindow>& windows) {
    measure_perplexity(model, windows, nullptr, [](const PerplexityResult&) {});
  };
  const std::vector<std::int32_t> long_text(514, 5);
  EXPECT_ERROR(run({}), HasSubstr("no token to score"));
  EXPECT_ERROR(run({{long_text, 1, 513}}), AllOf(HasSubstr("513"), HasSubstr("context of 512")));
  EXPECT_ERROR(run({{{512, 5}, 1, 1}}), HasSubstr("512"));
  EXPECT_NO_THROW(run({{{5, 5}, 1, 1}}));
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
