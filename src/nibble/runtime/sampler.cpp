#include "nibble/runtime/sampler.h"

#include <algorithm>
#include <cmath>

#include "nibble/core/error.h"

namespace nibble {
namespace {

void require(bool good, const char* option, double value, const char* expected) {
  if (!good) fail("{} must be {}, found {}", option, expected, value);
}

}  // namespace

Sampler::Sampler(const SamplerOptions& options) : options_(options), random_(options.seed) {
  require(options.temperature >= 0 && std::isfinite(options.temperature), "temperature",
          options.temperature, "0 or more");
  require(options.top_k >= 0, "top-k", static_cast<double>(options.top_k), "0 or more");
  require(options.top_p > 0 && options.top_p <= 1, "top-p", options.top_p, "above 0 and up to 1");
  require(options.min_p >= 0 && options.min_p <= 1, "min-p", options.min_p, "of 0 to 1");
  require(options.repeat_penalty > 0 && std::isfinite(options.repeat_penalty), "repeat-penalty",
          options.repeat_penalty, "above 0");
}

std::int32_t Sampler::sample(std::span<float> logits, std::span<const std::int32_t> context) {
  if (options_.repeat_penalty != 1.0) penalize(logits, context);
  if (options_.temperature == 0.0) {
    return static_cast<std::int32_t>(std::max_element(logits.begin(), logits.end()) -
                                     logits.begin());
  }
  take_top_k(logits);
  take_top_p();
  take_min_p();
  return draw();
}

void Sampler::penalize(std::span<float> logits, std::span<const std::int32_t> context) {
  penalized_.assign(logits.size(), false);
  const auto penalty = static_cast<float>(options_.repeat_penalty);
  for (const std::int32_t id : context) {
    const auto at = static_cast<std::size_t>(id);
    if (penalized_[at]) continue;
    penalized_[at] = true;
    logits[at] = logits[at] > 0 ? logits[at] / penalty : logits[at] * penalty;
  }
}

void Sampler::take_top_k(std::span<const float> logits) {
  candidates_.resize(logits.size());
  for (std::size_t i = 0; i < logits.size(); ++i) {
    // What is not a number (a broken model's) has no place in an order: it comes last.
    const float logit = std::isnan(logits[i]) ? -INFINITY : logits[i];
    candidates_[i] = {static_cast<std::int32_t>(i), logit, 0};
  }
  const auto likelier = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  };
  const auto k = static_cast<std::size_t>(options_.top_k);
  if (k > 0 && k < candidates_.size()) {
    std::nth_element(candidates_.begin(), candidates_.begin() + options_.top_k, candidates_.end(),
                     likelier);
    candidates_.resize(k);
  }
  std::sort(candidates_.begin(), candidates_.end(), likelier);
  const float max = candidates_.front().logit;
  double sum = 0;
  for (Candidate& candidate : candidates_) {
    candidate.probability =
        std::exp((static_cast<double>(candidate.logit) - max) / options_.temperature);
    sum += candidate.probability;
  }
  for (Candidate& candidate : candidates_) candidate.probability /= sum;
}

void Sampler::take_top_p() {
  if (options_.top_p >= 1.0) return;
  double sum = 0;
  std::size_t kept = 0;
  while (kept < candidates_.size() && sum < options_.top_p) sum += candidates_[kept++].probability;
  candidates_.resize(kept);
}

void Sampler::take_min_p() {
  const double least = options_.min_p * candidates_.front().probability;
  while (candidates_.back().probability < least) candidates_.pop_back();
}

std::int32_t Sampler::draw() {
  double sum = 0;
  for (const Candidate& candidate : candidates_) sum += candidate.probability;
  // 53 random bits in [0, 1): the same on every standard library, unlike its distributions.
  double left = static_cast<double>(random_() >> 11) * 0x1p-53 * sum;
  for (const Candidate& candidate : candidates_) {
    left -= candidate.probability;
    if (left < 0) return candidate.id;
  }
  return candidates_.back().id;
}

}  // namespace nibble
