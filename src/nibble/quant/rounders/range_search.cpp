#include "nibble/quant/rounders/range_search.h"

#include <algorithm>
#include <cassert>

#include "nibble/core/bfloat16.h"

namespace nibble {
namespace {

constexpr int kSteps = 11;
constexpr int kFits = 2;
constexpr int kLanes = 8;  // sums side by side; every group size is a multiple

struct Sums {
  float lanes[kLanes] = {};
  float total() const {
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
           ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
  }
};

/// One group's weights and what their errors count.
struct Group {
  const float* weights;
  const float* importance;
  std::int64_t size;

  float error(const IntegerGrid& grid) const {
    Sums sums;
    for (std::int64_t i = 0; i < size; i += kLanes) {
      for (int k = 0; k < kLanes; ++k) {
        const float w = weights[i + k];
        const float off = grid.value(grid.nearest(w)) - w;
        sums.lanes[k] += importance[i + k] * off * off;
      }
    }
    return sums.total();
  }

  /// The grid with the scale that fits its own nearest integers best; unchanged where none does.
  IntegerGrid fitted(const IntegerGrid& grid) const {
    Sums product;
    Sums square;
    for (std::int64_t i = 0; i < size; i += kLanes) {
      for (int k = 0; k < kLanes; ++k) {
        const float w = weights[i + k];
        const float c = grid.nearest(w) - grid.zero;
        product.lanes[k] += importance[i + k] * c * w;
        square.lanes[k] += importance[i + k] * c * c;
      }
    }
    const float scale = round_to_bfloat16(product.total() / square.total());
    return scale > 0 && scale < 3e38F ? IntegerGrid{scale, grid.zero, grid.qmax} : grid;
  }

  IntegerGrid search(float qmax) const {
    const float lo = std::min(0.0F, *std::min_element(weights, weights + size));
    const float hi = std::max(0.0F, *std::max_element(weights, weights + size));
    IntegerGrid best{};
    float least = 0;
    const auto try_grid = [&](const IntegerGrid& grid, bool is_first) {
      const float found = error(grid);
      if (!is_first && !(found < least)) return;
      best = grid;
      least = found;
    };
    for (int step = 0; step < kSteps; ++step) {
      const float p = static_cast<float>(20 - step) / 20;
      const float scale = round_to_bfloat16(std::max(p * (hi - lo), 1e-5F) / qmax);
      const float zero = std::clamp(round_near(-p * lo / scale), 0.0F, qmax);
      try_grid({scale, zero, qmax}, step == 0);
    }
    for (int fit = 0; fit < kFits; ++fit) try_grid(fitted(best), false);
    return best;
  }
};

}  // namespace

void search_ranges(std::span<const float> weights, std::span<const float> importance,
                   IntegerRows& rows) {
  assert(std::ssize(weights) == rows.rows * rows.cols && std::ssize(importance) == rows.cols);
  const auto qmax = static_cast<float>((1 << rows.bits) - 1);
  for (std::int64_t r = 0; r < rows.rows; ++r) {
    for (std::int64_t g = 0; g < rows.groups(); ++g) {
      const std::int64_t first = g * rows.group_size;
      const float* from = weights.data() + r * rows.cols + first;
      const IntegerGrid grid = Group{from, importance.data() + first, rows.group_size}.search(qmax);
      rows.set_scale(r, g, grid.scale);
      rows.set_zero(r, g, static_cast<std::uint8_t>(grid.zero));
      std::uint8_t* q = rows.q_row(r) + first;
      for (std::int64_t i = 0; i < rows.group_size; ++i)
        q[i] = static_cast<std::uint8_t>(grid.nearest(from[i]));
    }
  }
}

}  // namespace nibble
