#include "nibble/runtime/sampler.h"

#include <algorithm>
#include <cmath>

#include "nibble/core/arg_max.h"
#include "nibble/core/error.h"

namespace nibble {
namespace {

// As a rule more candidates than a draw or top-p looks at.
constexpr std::size_t kFirstInOrder = 256;

/// What is not a number (a broken model's) has no place in an order: it comes last.
float without_nan(float logit) {
  return std::isnan(logit) ? -INFINITY : logit;
}

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
  if (options_.temperature == 0.0) return static_cast<std::int32_t>(arg_max(logits));
  take_top_k(logits);
  weigh();
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
    candidates_[i] = {static_cast<std::int32_t>(i), without_nan(logits[i]), 0};
  }
  in_order_ = 0;
  const auto k = static_cast<std::size_t>(options_.top_k);
  if (k == 0 || k >= candidates_.size()) return;
  put_in_order(k);
  candidates_.resize(k);
  in_order_ = k;
}

void Sampler::put_in_order(std::size_t count) {
  const auto likelier = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  };
  const auto at = [&](std::size_t i) {
    return candidates_.begin() + static_cast<std::ptrdiff_t>(i);
  };
  while (in_order_ < std::min(count, candidates_.size())) {
    const std::size_t end = std::min(candidates_.size(), std::max(kFirstInOrder, 4 * in_order_));
    std::nth_element(at(in_order_), at(end), candidates_.end(), likelier);
    std::sort(at(in_order_), at(end), likelier);
    in_order_ = end;
  }
}

void Sampler::weigh() {
  put_in_order(1);
  const float max = candidates_.front().logit;
  mass_ = 0;
  for (Candidate& candidate : candidates_) {
    const double below = static_cast<double>(candidate.logit) - max;
    // An infinite largest logit has no difference from itself.
    candidate.weight = candidate.logit == max ? 1.0 : std::exp(below / options_.temperature);
    mass_ += candidate.weight;
  }
}

void Sampler::keep(std::size_t count, double mass) {
  candidates_.resize(count);
  in_order_ = count;
  mass_ = mass;
}

void Sampler::take_top_p() {
  if (options_.top_p >= 1.0) return;
  const double wanted = options_.top_p * mass_;
  double mass = 0;
  std::size_t kept = 0;
  while (kept < candidates_.size() && mass < wanted) {
    put_in_order(kept + 1);
    mass += candidates_[kept++].weight;
  }
  keep(kept, mass);
}

void Sampler::take_min_p() {
  if (options_.min_p <= 0.0) return;
  double mass = 0;
  std::size_t kept = 0;
  for (; kept < candidates_.size(); ++kept) {
    put_in_order(kept + 1);
    if (candidates_[kept].weight < options_.min_p) break;  // the first has a weight of 1
    mass += candidates_[kept].weight;
  }
  keep(kept, mass);
}

std::int32_t Sampler::draw() {
  // 53 random bits in [0, 1): the same on every standard library, unlike its distributions.
  double left = static_cast<double>(random_() >> 11) * 0x1p-53 * mass_;
  for (std::size_t i = 0; i < candidates_.size(); ++i) {
    put_in_order(i + 1);
    left -= candidates_[i].weight;
    if (left < 0) return candidates_[i].id;
  }
  return candidates_.back().id;
}

}  // namespace nibble
