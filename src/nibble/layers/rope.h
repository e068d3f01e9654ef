// Rotary position embedding: the angles of the positions of a pass.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace nibble {

class Rope {
 public:
  Rope() = default;
  /// `inverse_frequencies`: radians per position of each pair, (head_dim / 2).
  explicit Rope(std::vector<float> inverse_frequencies)
      : inverse_frequencies_(std::move(inverse_frequencies)) {}

  std::int64_t half() const { return static_cast<std::int64_t>(inverse_frequencies_.size()); }

  /// Forgets the positions whose angles there are.
  void clear();
  /// Adds positions start .. start + tokens - 1.
  void append(std::int64_t start, std::int64_t tokens);
  /// Of the t-th position added since clear(): (head_dim / 2); valid until the next is.
  const float* cos(std::int64_t t) const { return cos_.data() + t * half(); }
  const float* sin(std::int64_t t) const { return sin_.data() + t * half(); }

 private:
  std::vector<float> inverse_frequencies_;
  std::vector<float> cos_;  // (tokens, head_dim / 2)
  std::vector<float> sin_;
};

}  // namespace nibble
