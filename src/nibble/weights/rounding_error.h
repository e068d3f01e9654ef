// What rounding some weights did to them, summed up.
#pragma once

#include <cmath>
#include <cstdint>

namespace nibble {

struct RoundingError {
  double squared_error = 0;         // sum of (rounded - weight)^2
  double squared_weight = 0;        // sum of weight^2
  std::int64_t clipped_groups = 0;  // groups whose range leaves out 0, so that some weights clip
  bool finite = true;               // false: a weight is infinite or not a number, or became so

  void add(float weight, float rounded) {
    const double difference = static_cast<double>(rounded) - static_cast<double>(weight);
    squared_error += difference * difference;
    squared_weight += static_cast<double>(weight) * static_cast<double>(weight);
    finite = finite && std::isfinite(rounded) && std::isfinite(weight);
  }
  void operator+=(const RoundingError& other) {
    squared_error += other.squared_error;
    squared_weight += other.squared_weight;
    clipped_groups += other.clipped_groups;
    finite = finite && other.finite;
  }
  /// Root of the ratio of the two sums; 0 where all weights are 0.
  double relative() const {
    return squared_weight > 0 ? std::sqrt(squared_error / squared_weight) : 0.0;
  }
};

}  // namespace nibble
