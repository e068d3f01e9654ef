#include "nibble/quant/learning/learned_numbers.h"

#include <algorithm>
#include <cmath>

namespace nibble {
namespace {

constexpr float kMeanDecay = 0.9F;
constexpr float kSquareDecay = 0.95F;
constexpr float kEps = 1e-12F;  // gradients of single scales are small
constexpr int kWarmUp = 2;
constexpr double kLastShare = 0.05;

}  // namespace

void LearnedNumbers::move(float rate, int step) {
  const auto power = static_cast<float>(step);
  const float mean_share = 1 - std::pow(kMeanDecay, power);
  const float square_share = 1 - std::pow(kSquareDecay, power);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float g = gradient[i];
    mean_[i] = kMeanDecay * mean_[i] + (1 - kMeanDecay) * g;
    square_[i] = kSquareDecay * square_[i] + (1 - kSquareDecay) * g * g;
    values[i] -= rate * (mean_[i] / mean_share) / (std::sqrt(square_[i] / square_share) + kEps);
    gradient[i] = 0;
  }
}

float learning_rate(float peak, int step, int steps) {
  const double rise = std::min(1.0, static_cast<double>(step) / kWarmUp);
  const double done = static_cast<double>(step - 1) / std::max(1, steps - 1);
  const double fall = kLastShare + (1 - kLastShare) * 0.5 * (1 + std::cos(M_PI * done));
  return static_cast<float>(peak * rise * fall);
}

}  // namespace nibble
