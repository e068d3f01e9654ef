#include "nibble/runtime/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <random>

#include "core/error_matchers.h"

namespace nibble {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

/// How often each token comes in `draws` draws from the same logits.
std::map<std::int32_t, int> draw(const SamplerOptions& options, const std::vector<float>& logits,
                                 int draws = 4000, const std::vector<std::int32_t>& context = {}) {
  Sampler sampler(options);
  std::map<std::int32_t, int> counts;
  for (int i = 0; i < draws; ++i) {
    std::vector<float> copy = logits;
    ++counts[sampler.sample(copy, context)];
  }
  return counts;
}

std::vector<std::int32_t> tokens_of(const std::map<std::int32_t, int>& counts) {
  std::vector<std::int32_t> tokens;
  for (const auto& [token, count] : counts) tokens.push_back(token);
  return tokens;
}

using Ids = std::vector<std::int32_t>;

/// Logits of these probabilities.
std::vector<float> logits_of(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
  return logits;
}

const std::vector<float> kLogits = logits_of({0.1, 0.4, 0.2, 0.25, 0.05});

TEST(Sampler, GreedyTakesTheFirstOfTheLargest) {
  EXPECT_EQ(tokens_of(draw({}, {1, 3, 2, 3, 3}, 5)), Ids{1});
  EXPECT_EQ(tokens_of(draw({}, {-5}, 1)), Ids{0});
  EXPECT_EQ(tokens_of(draw({}, {-INFINITY, -2, -2}, 1)), Ids{1});
}

TEST(Sampler, DrawsByProbability) {
  const auto counts = draw({.temperature = 1.0}, kLogits, 40000);
  const std::vector<double> probabilities = {0.1, 0.4, 0.2, 0.25, 0.05};
  for (const auto& [token, count] : counts) {
    const double p = probabilities[static_cast<std::size_t>(token)];
    EXPECT_NEAR(count, 40000 * p, 5 * std::sqrt(40000 * p * (1 - p))) << token;  // 5 sigma
  }
}

TEST(Sampler, TemperatureSharpens) {
  // At temperature 1/2 probabilities are squared: 0.16 of 0.275 for token 1.
  const auto counts = draw({.temperature = 0.5}, kLogits, 40000);
  const double p = 0.16 / (0.01 + 0.16 + 0.04 + 0.0625 + 0.0025);
  EXPECT_NEAR(counts.at(1), 40000 * p, 5 * std::sqrt(40000 * p * (1 - p)));
  EXPECT_EQ(tokens_of(draw({.temperature = 1e-300}, kLogits, 100)), Ids{1});
}

TEST(Sampler, TopK) {
  EXPECT_EQ(tokens_of(draw({.temperature = 1, .top_k = 1}, kLogits)), Ids{1});
  EXPECT_EQ(tokens_of(draw({.temperature = 1, .top_k = 3}, kLogits)), (Ids{1, 2, 3}));
  EXPECT_EQ(draw({.temperature = 1, .top_k = 5}, kLogits).size(), 5u);
  EXPECT_EQ(draw({.temperature = 1, .top_k = 1000}, kLogits).size(), 5u);
  EXPECT_EQ(draw({.temperature = 1, .top_k = 0}, kLogits).size(), 5u);
  // Among equals the smaller ids.
  EXPECT_EQ(tokens_of(draw({.temperature = 1, .top_k = 2}, {0, 1, 1, 1})), (Ids{1, 2}));
}

TEST(Sampler, TopPKeepsTheFewestThatReachIt) {
  EXPECT_EQ(tokens_of(draw({.temperature = 1, .top_p = 1e-9}, kLogits)), Ids{1});
  EXPECT_EQ(tokens_of(draw({.temperature = 1, .top_p = 0.39}, kLogits)), Ids{1});
  EXPECT_EQ(tokens_of(draw({.temperature = 1, .top_p = 0.41}, kLogits)), (Ids{1, 3}));
  EXPECT_EQ(tokens_of(draw({.temperature = 1, .top_p = 0.86}, kLogits)), (Ids{0, 1, 2, 3}));
  EXPECT_EQ(draw({.temperature = 1, .top_p = 1.0}, kLogits).size(), 5u);
}

TEST(Sampler, TopPIsAShareOfWhatTopKLeaves) {
  // Of tokens 1 and 3, 0.4 and 0.25, the first has 61.5 %.
  EXPECT_EQ(tokens_of(draw({.temperature = 1, .top_k = 2, .top_p = 0.6}, kLogits)), Ids{1});
  EXPECT_EQ(tokens_of(draw({.temperature = 1, .top_k = 2, .top_p = 0.63}, kLogits)), (Ids{1, 3}));
}

TEST(Sampler, MinPIsAShareOfTheLargest) {
  EXPECT_EQ(tokens_of(draw({.temperature = 1, .min_p = 1.0}, kLogits)), Ids{1});
  EXPECT_EQ(tokens_of(draw({.temperature = 1, .min_p = 0.49}, kLogits)), (Ids{1, 2, 3}));
  EXPECT_EQ(tokens_of(draw({.temperature = 1, .min_p = 0.51}, kLogits)), (Ids{1, 3}));
  EXPECT_EQ(draw({.temperature = 1, .min_p = 0.1}, kLogits).size(), 5u);
}

TEST(Sampler, RepeatPenaltyDividesPositiveAndMultipliesNegativeLogits) {
  Sampler sampler({.repeat_penalty = 2.0});
  std::vector<float> logits = {4, -3, 0, 5, -1};
  // 0 and 1 are in the context, 0 three times: punished once.
  EXPECT_EQ(sampler.sample(logits, std::vector<std::int32_t>{0, 1, 0, 2, 0}), 3);
  EXPECT_EQ(logits, (std::vector<float>{2, -6, 0, 5, -1}));
  logits = {4, 3};
  EXPECT_EQ(sampler.sample(logits, std::vector<std::int32_t>{0}), 1);
  logits = {4, 3};  // the context of one call is not that of the next
  EXPECT_EQ(sampler.sample(logits, {}), 0);
  Sampler rewarding({.repeat_penalty = 0.5});
  logits = {4, 3};
  EXPECT_EQ(rewarding.sample(logits, std::vector<std::int32_t>{1}), 1);
}

TEST(Sampler, ASeedDeterminesTheDraws) {
  const auto sequence = [](std::uint64_t seed) {
    Sampler sampler({.temperature = 1, .seed = seed});
    std::vector<std::int32_t> ids;
    for (int i = 0; i < 50; ++i) {
      std::vector<float> logits = kLogits;
      ids.push_back(sampler.sample(logits, {}));
    }
    return ids;
  };
  EXPECT_EQ(sequence(1), sequence(1));
  EXPECT_NE(sequence(1), sequence(2));
}

/// The definition: all tokens sorted, everything cut off behind, one draw along the order.
std::int32_t draw_from_all(const SamplerOptions& options, const std::vector<float>& logits,
                           std::mt19937_64& random) {
  Ids ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto logit = [&](std::int32_t id) { return logits[static_cast<std::size_t>(id)]; };
  std::stable_sort(ids.begin(), ids.end(), [&](auto a, auto b) { return logit(a) > logit(b); });
  if (options.top_k > 0) ids.resize(std::min(ids.size(), static_cast<std::size_t>(options.top_k)));
  std::vector<double> p;
  for (const std::int32_t id : ids) {
    p.push_back(std::exp((double{logit(id)} - logit(ids[0])) / options.temperature));
  }
  const double all = std::accumulate(p.begin(), p.end(), 0.0);
  double sum = 0;
  std::size_t kept = 0;
  while (kept < p.size() && (sum < options.top_p * all || options.top_p == 1)) sum += p[kept++];
  while (p[kept - 1] < options.min_p * p[0]) sum -= p[--kept];
  double left = std::ldexp(static_cast<double>(random() >> 11), -53) * sum;
  for (std::size_t i = 0; i < kept; ++i) {
    left -= p[i];
    if (left < 0) return ids[i];
  }
  return ids[kept - 1];
}

TEST(Sampler, DrawsAsIfAllTokensWereSorted) {
  std::mt19937_64 random(11);
  std::vector<float> logits(5000);
  for (float& value : logits) {  // steps of 1/4: many are equal
    value = static_cast<float>(static_cast<int>(random() % 40)) / 4 - 5;
  }
  for (const SamplerOptions& options :
       {SamplerOptions{.temperature = 1}, SamplerOptions{.temperature = 3},
        SamplerOptions{.temperature = 0.2}, SamplerOptions{.temperature = 1, .top_k = 40},
        SamplerOptions{.temperature = 2, .top_k = 700},
        SamplerOptions{.temperature = 1, .top_p = 0.9},
        SamplerOptions{.temperature = 1, .min_p = 0.05},
        SamplerOptions{.temperature = 2, .top_k = 900, .top_p = 0.8, .min_p = 0.3}}) {
    Sampler sampler(options);
    std::mt19937_64 draws(options.seed);
    for (int i = 0; i < 300; ++i) {
      std::vector<float> copy = logits;
      ASSERT_EQ(sampler.sample(copy, {}), draw_from_all(options, logits, draws))
          << "draw " << i << " at temperature " << options.temperature << ", top-k "
          << options.top_k << ", top-p " << options.top_p << ", min-p " << options.min_p;
    }
  }
}

TEST(Sampler, WhatIsNotANumberIsNeverTheMostLikely) {
  const float nan = std::nanf("");
  EXPECT_EQ(tokens_of(draw({}, {nan, -3, nan, 2, 1}, 1)), Ids{3});
  EXPECT_EQ(tokens_of(draw({}, {nan, nan}, 1)), Ids{0});
  // Nor is an infinite one nothing: it takes all.
  EXPECT_EQ(tokens_of(draw({.temperature = 1}, {nan, 1, INFINITY, 2}, 50)), Ids{2});
}

TEST(Sampler, BrokenLogitsGiveSomeToken) {
  for (const float bad : {std::nanf(""), INFINITY, -INFINITY}) {
    std::vector<float> logits(1000, bad);
    EXPECT_EQ(
        draw({.temperature = 1, .top_k = 5, .top_p = 0.9, .min_p = 0.1}, logits, 3).size() > 0,
        true);
    for (std::size_t i = 0; i < logits.size(); i += 3) logits[i] = static_cast<float>(i % 7);
    for (const SamplerOptions& options :
         {SamplerOptions{}, SamplerOptions{.temperature = 1},
          SamplerOptions{.temperature = 1, .top_k = 40, .top_p = 0.9, .min_p = 0.1}}) {
      for (const auto& [token, count] : draw(options, logits, 20)) {
        EXPECT_TRUE(token >= 0 && token < 1000);
        if (options.temperature > 0 && !(bad > 0)) {
          EXPECT_EQ(token % 3, 0) << "a token that is not a number";
        }
      }
    }
  }
}

TEST(Sampler, RefusesOptionsOutOfRange) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const double bad : {-0.1, nan, std::numeric_limits<double>::infinity()}) {
    EXPECT_ERROR(Sampler({.temperature = bad}), HasSubstr("temperature"));
  }
  EXPECT_ERROR(Sampler({.top_k = -1}), AllOf(HasSubstr("top-k"), HasSubstr("-1")));
  for (const double bad : {0.0, -0.5, 1.5, nan}) {
    EXPECT_ERROR(Sampler({.top_p = bad}), HasSubstr("top-p"));
  }
  for (const double bad : {-0.5, 1.5, nan}) {
    EXPECT_ERROR(Sampler({.min_p = bad}), HasSubstr("min-p"));
  }
  for (const double bad : {0.0, -1.0, nan, std::numeric_limits<double>::infinity()}) {
    EXPECT_ERROR(Sampler({.repeat_penalty = bad}), HasSubstr("repeat-penalty"));
  }
}

}  // namespace
}  // namespace nibble
