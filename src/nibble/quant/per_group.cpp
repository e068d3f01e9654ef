#include "nibble/quant/per_group.h"

#include <algorithm>
#include <cmath>

#include "nibble/quant/nearest.h"

namespace nibble {

GroupParameters round_group(std::span<const float> weights, int bits, std::span<std::uint8_t> q,
                            RoundingError& error) {
  float lo = weights[0];
  float hi = weights[0];
  float check = 0;  // stays 0 unless a weight is infinite or not a number
  for (const float w : weights) {
    lo = std::min(lo, w);
    hi = std::max(hi, w);
    check += w * 0.0f;
  }
  const auto qmax = static_cast<float>((1 << bits) - 1);
  const BFloat16 scale_bits = to_bfloat16(std::max(hi - lo, 1e-5f) / qmax);
  const float scale = to_float(scale_bits);
  const float zero = std::clamp(-round_near(lo / scale), 0.0f, qmax);
  error.finite = error.finite && check == 0.0f && std::isfinite(scale);
  if (!error.finite) return {scale_bits, 0};
  if (lo > 0 || hi < 0) ++error.clipped_groups;

  double squared_error = 0;
  double squared_weight = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const float w = weights[i];
    const float integer = std::clamp(round_near(w / scale) + zero, 0.0f, qmax);
    q[i] = static_cast<std::uint8_t>(static_cast<int>(integer));
    const double difference = static_cast<double>((integer - zero) * scale) - w;
    squared_error += difference * difference;
    squared_weight += static_cast<double>(w) * w;
  }
  error.squared_error += squared_error;
  error.squared_weight += squared_weight;
  return {scale_bits, static_cast<std::uint8_t>(zero)};
}

}  // namespace nibble
