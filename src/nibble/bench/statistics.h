// Medians, and the modes that repeated measurements fall into.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace nibble {

struct Spread {
  double min = 0;
  double median = 0;
  double max = 0;
};

/// Of at least one value; of an even number the median is the mean of the middle two.
Spread spread_of(std::vector<double> values);
double median_of(std::vector<double> values);

/// Groups values that lie close together: in order of size, a group ends where the next value is
/// more than a quarter above the last. Gives the places of the values, groups and members from the
/// smallest value to the largest.
std::vector<std::vector<std::size_t>> find_modes(std::span<const double> values);

}  // namespace nibble
