#include "nibble/quant/per_channel.h"

#include <algorithm>
#include <cmath>

namespace nibble {

float round_row(std::span<const float> weights, std::span<std::uint8_t> q, RoundingError& error,
                float largest) {
  float most = largest;
  float check = 0;  // stays 0 unless a weight is infinite or not a number
  for (const float w : weights) {
    most = std::max(most, std::abs(w));
    check += w * 0.0f;
  }
  const float scale = std::max(most, 1e-5f) / 127.0f;
  error.finite = error.finite && check == 0.0f;
  if (!error.finite) return scale;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const float w = weights[i];
    const float integer = std::nearbyint(w / scale);
    q[i] = static_cast<std::uint8_t>(kMiddleOf8Bits + static_cast<int>(integer));
    const double difference = static_cast<double>(integer * scale) - w;
    error.squared_error += difference * difference;
    error.squared_weight += static_cast<double>(w) * w;
  }
  return scale;
}

}  // namespace nibble
