#include "nibble/quant/per_channel.h"

#include <algorithm>
#include <cmath>

#include "nibble/quant/round_half_even.h"

namespace nibble {

float round_channel(std::span<const float> weights, std::span<std::int8_t> q,
                    RoundingError& error) {
  float largest = 1e-5f;
  for (const float w : weights) {
    largest = std::max(largest, std::abs(w));
    error.finite = error.finite && std::isfinite(w);
  }
  const float scale = largest / 127.0f;
  if (!error.finite) return scale;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const float integer = std::clamp(round_half_even(weights[i] / scale), -127.0f, 127.0f);
    q[i] = static_cast<std::int8_t>(integer);
    error.add(weights[i], integer * scale);
  }
  return scale;
}

}  // namespace nibble
