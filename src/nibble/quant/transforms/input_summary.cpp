#include "nibble/quant/transforms/input_summary.h"

#include <algorithm>
#include <cmath>

#include "nibble/core/error.h"

namespace nibble {
namespace {

constexpr std::int64_t kSampledTokens = 512;

std::vector<float> finite(std::vector<float> values, const std::string& layer) {
  for (const float value : values) {
    if (std::isfinite(value)) continue;
    fail("calibration: the inputs of \"{}\" are not all finite numbers", layer);
  }
  return values;
}

}  // namespace

InputMagnitudes::InputMagnitudes(std::int64_t features)
    : sums_(static_cast<std::size_t>(features)), maxima_(static_cast<std::size_t>(features)) {}

void InputMagnitudes::add(Compute& compute, const float* x, std::int64_t tokens) {
  constexpr std::int64_t kCols = 64;
  const auto cols = std::ssize(sums_);
  compute.pool().parallel_for((cols + kCols - 1) / kCols, [&](std::int64_t item, int) {
    const std::int64_t first = item * kCols;
    const std::int64_t last = std::min(first + kCols, cols);
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t c = first; c < last; ++c) {
        const float magnitude = std::abs(x[t * cols + c]);
        const auto at = static_cast<std::size_t>(c);
        sums_[at] += static_cast<double>(magnitude);
        maxima_[at] = std::max(maxima_[at], magnitude);
      }
    }
  });
  tokens_ += tokens;
}

std::vector<float> InputMagnitudes::means(const std::string& layer) const {
  std::vector<float> means;
  for (const double sum : sums_) {
    means.push_back(static_cast<float>(sum / static_cast<double>(tokens_)));
  }
  return finite(std::move(means), layer);
}

std::vector<float> InputMagnitudes::maxima(const std::string& layer) const {
  means(layer);  // a maximum passes over what is not a number
  return finite(maxima_, layer);
}

SampledRows::SampledRows(std::int64_t features, std::int64_t all_tokens)
    : features_(features), step_(std::max<std::int64_t>(1, all_tokens / kSampledTokens)) {}

void SampledRows::add(const float* x, std::int64_t tokens) {
  std::int64_t t = next_;
  for (; t < tokens; t += step_) {
    rows_.insert(rows_.end(), x + t * features_, x + (t + 1) * features_);
  }
  next_ = t - tokens;
}

void SampledRows::divide(const std::vector<float>& divisors) {
  for (std::size_t i = 0; i < rows_.size(); ++i) rows_[i] /= divisors[i % divisors.size()];
}

}  // namespace nibble
