#include "nibble/layers/rope.h"

#include <cmath>

namespace nibble {

void Rope::clear() {
  cos_.clear();
  sin_.clear();
}

void Rope::append(std::int64_t start, std::int64_t tokens) {
  std::size_t at = cos_.size();
  const std::size_t count = at + static_cast<std::size_t>(tokens * half());
  cos_.resize(count);
  sin_.resize(count);
  for (std::int64_t t = 0; t < tokens; ++t) {
    // float32, as the models were trained: at position 100,000 the rounding of the angle matters.
    const auto position = static_cast<float>(start + t);
    for (const float frequency : inverse_frequencies_) {
      cos_[at] = std::cos(position * frequency);
      sin_[at] = std::sin(position * frequency);
      ++at;
    }
  }
}

}  // namespace nibble
