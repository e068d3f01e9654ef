#include "nibble/quant/per_group.h"

#include <algorithm>
#include <cmath>

namespace nibble {

IntegerGrid grid_between(float lo, float hi, int bits) {
  const auto qmax = static_cast<float>((1 << bits) - 1);
  const float scale = round_to_bfloat16(std::max(hi - lo, 1e-5f) / qmax);
  return {scale, std::clamp(-round_near(lo / scale), 0.0f, qmax), qmax};
}

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
  const IntegerGrid grid = grid_between(lo, hi, bits);
  const BFloat16 scale_bits = to_bfloat16(grid.scale);
  error.finite = error.finite && check == 0.0f && std::isfinite(grid.scale);
  if (!error.finite) return {scale_bits, 0};
  if (lo > 0 || hi < 0) ++error.clipped_groups;

  double squared_error = 0;
  double squared_weight = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const float w = weights[i];
    const float integer = grid.nearest(w);
    q[i] = static_cast<std::uint8_t>(static_cast<int>(integer));
    const double difference = static_cast<double>(grid.value(integer)) - w;
    squared_error += difference * difference;
    squared_weight += static_cast<double>(w) * w;
  }
  error.squared_error += squared_error;
  error.squared_weight += squared_weight;
  return {scale_bits, static_cast<std::uint8_t>(grid.zero)};
}

void simulate_groups(std::span<float> weights, int group_size, int bits) {
  const auto size = static_cast<std::size_t>(group_size);
  for (std::size_t at = 0; at < weights.size(); at += size) {
    const std::span<float> group = weights.subspan(at, size);
    float lo = group[0];
    float hi = group[0];
    for (const float w : group) {
      lo = std::min(lo, w);
      hi = std::max(hi, w);
    }
    const IntegerGrid grid = grid_between(lo, hi, bits);
    for (float& w : group) w = grid.value(grid.nearest(w));
  }
}

}  // namespace nibble
