// Picks the candidate with the least mean loss without trying all of them on everything: they run
// side by side, and those that are behind beyond doubt drop out (racing: Maron & Moore, "Hoeffding
// Races", 1994; here by the differences from the leader on the same data). What is seen by all of
// them decides exactly as trying everything would.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace nibble {

class Race {
 public:
  explicit Race(std::size_t candidates);

  /// Those still in it, in their order.
  const std::vector<std::size_t>& running() const { return running_; }
  /// The losses of one of them on the next pieces of data, alike in size and the same for all.
  void add(std::size_t candidate, std::span<const double> losses);
  /// Once all have been tried on the same: drops those whose mean is larger than the leader's by
  /// more than kStandardErrors of the mean difference. Of fewer pieces than kFewest nothing is
  /// said.
  void drop_behind();
  /// The one with the least mean so far; of equals the first. Losses that are no numbers count as
  /// infinite.
  std::size_t leader() const;
  /// Of the pieces that the candidate has been tried on.
  double mean(std::size_t candidate) const;

  static constexpr double kStandardErrors = 5;
  static constexpr std::size_t kFewest = 8;

 private:
  bool is_behind(std::size_t candidate, std::size_t leader) const;

  std::vector<std::vector<double>> losses_;  // of each candidate, a piece after the other
  std::vector<std::size_t> running_;
};

}  // namespace nibble
