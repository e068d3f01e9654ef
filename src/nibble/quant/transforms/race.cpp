#include "nibble/quant/transforms/race.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace nibble {

Race::Race(std::size_t candidates) : losses_(candidates), running_(candidates) {
  std::iota(running_.begin(), running_.end(), std::size_t{0});
}

void Race::add(std::size_t candidate, std::span<const double> losses) {
  for (const double loss : losses) {
    losses_[candidate].push_back(std::isfinite(loss) ? loss
                                                     : std::numeric_limits<double>::infinity());
  }
}

double Race::mean(std::size_t candidate) const {
  const std::vector<double>& losses = losses_[candidate];
  return std::accumulate(losses.begin(), losses.end(), 0.0) / static_cast<double>(losses.size());
}

std::size_t Race::leader() const {
  std::size_t best = running_.front();
  for (const std::size_t candidate : running_) {
    if (mean(candidate) < mean(best)) best = candidate;
  }
  return best;
}

bool Race::is_behind(std::size_t candidate, std::size_t leader) const {
  const auto n = static_cast<double>(losses_[leader].size());
  const double difference = mean(candidate) - mean(leader);
  if (!std::isfinite(difference)) return std::isfinite(mean(leader));
  double squares = 0;
  for (std::size_t i = 0; i < losses_[leader].size(); ++i) {
    const double off = losses_[candidate][i] - losses_[leader][i] - difference;
    squares += off * off;
  }
  return difference > kStandardErrors * std::sqrt(squares / (n - 1) / n);
}

void Race::drop_behind() {
  const std::size_t first = leader();
  if (losses_[first].size() < kFewest) return;
  std::erase_if(running_, [&](std::size_t candidate) {
    return candidate != first && is_behind(candidate, first);
  });
}

}  // namespace nibble
