#include "nibble/bench/statistics.h"

#include <algorithm>
#include <cassert>
#include <numeric>

namespace nibble {
namespace {

// Neighbours further apart than this are of different modes: far above the scatter of one mode
// (some percent), below the distance of the modes seen on shared machines (a factor of 1.6 and up).
constexpr double kModeGap = 1.25;

}  // namespace

Spread spread_of(std::vector<double> values) {
  assert(!values.empty());
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  const double median =
      values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  return {values.front(), median, values.back()};
}

double median_of(std::vector<double> values) {
  return spread_of(std::move(values)).median;
}

std::vector<std::vector<std::size_t>> find_modes(std::span<const double> values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<std::vector<std::size_t>> modes;
  for (const std::size_t place : order) {
    if (modes.empty() || values[place] > kModeGap * values[modes.back().back()]) {
      modes.emplace_back();
    }
    modes.back().push_back(place);
  }
  return modes;
}

}  // namespace nibble
