#include "nibble/models/rope_frequencies.h"

#include <cmath>

namespace nibble {
namespace {

/// llama3 scaling (transformers, modeling_rope_utils.py: _compute_llama3_parameters): long
/// wavelengths are stretched by the factor, short ones kept, those between blended.
float scale_llama3(const RopeSpec& rope, float frequency) {
  const double wavelength = 2 * M_PI / frequency;
  const double turns = rope.original_context / wavelength;
  if (turns < rope.low_freq_factor) return static_cast<float>(frequency / rope.factor);
  if (turns > rope.high_freq_factor) return frequency;
  const double smooth =
      (turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
  return static_cast<float>((1 - smooth) * frequency / rope.factor + smooth * frequency);
}

}  // namespace

std::vector<float> rope_frequencies(const RopeSpec& rope, std::int64_t head_dim) {
  std::vector<float> frequencies;
  for (std::int64_t i = 0; i < head_dim / 2; ++i) {
    const double exponent = static_cast<double>(2 * i) / static_cast<double>(head_dim);
    auto frequency = static_cast<float>(1.0 / std::pow(rope.theta, exponent));
    if (rope.scaling == RopeSpec::Scaling::kLinear) {
      frequency = static_cast<float>(frequency / rope.factor);
    } else if (rope.scaling == RopeSpec::Scaling::kLlama3) {
      frequency = scale_llama3(rope, frequency);
    } else if (rope.scaling == RopeSpec::Scaling::kFactors) {
      frequency /= rope.factors[static_cast<std::size_t>(i)];
    }
    frequencies.push_back(frequency);
  }
  return frequencies;
}

}  // namespace nibble
