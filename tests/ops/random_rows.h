#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace nibble::test {

/// Numbers of a standard normal distribution.
inline std::vector<float> random_rows(std::int64_t elements, std::mt19937& random) {
  std::normal_distribution<float> normal(0.0F, 1.0F);
  std::vector<float> x(static_cast<std::size_t>(elements));
  for (float& value : x) value = normal(random);
  return x;
}

}  // namespace nibble::test
