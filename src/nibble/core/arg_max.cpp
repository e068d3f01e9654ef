#include "nibble/core/arg_max.h"

#include <algorithm>
#include <array>
#include <limits>

namespace nibble {

std::size_t arg_max(std::span<const float> values) {
  // Lanes that compilers turn into vectors: one maximum over all would fix the order, which they
  // may not change. A comparison with what is not a number is false.
  std::array<float, 16> lanes;
  lanes.fill(-std::numeric_limits<float>::infinity());
  const std::size_t whole = values.size() - values.size() % lanes.size();
  for (std::size_t i = 0; i < whole; i += lanes.size()) {
    for (std::size_t j = 0; j < lanes.size(); ++j) {
      lanes[j] = values[i + j] > lanes[j] ? values[i + j] : lanes[j];
    }
  }
  float largest = *std::max_element(lanes.begin(), lanes.end());
  for (const float value : values.subspan(whole)) largest = value > largest ? value : largest;
  const auto at = std::find(values.begin(), values.end(), largest);
  return at == values.end() ? 0 : static_cast<std::size_t>(at - values.begin());
}

}  // namespace nibble
