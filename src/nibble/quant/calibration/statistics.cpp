#include "nibble/quant/calibration/statistics.h"

#include <algorithm>
#include <cmath>

#include "nibble/core/error.h"

namespace nibble {
namespace {

bool sums_products(InputNeeds needs) {
  return needs == InputNeeds::kProducts || needs == InputNeeds::kCross;
}

}  // namespace

StatisticsSum::StatisticsSum(InputNeeds needs, std::int64_t cols) : needs_(needs) {
  if (needs == InputNeeds::kSquares) squares_.resize(static_cast<std::size_t>(cols));
  if (sums_products(needs)) products_ = Matrix<float>(cols, cols);
  if (needs == InputNeeds::kCross) cross_ = Matrix<float>(cols, cols);
}

void StatisticsSum::add_squares(Compute& compute, const float* x, std::int64_t tokens) {
  constexpr std::int64_t kCols = 64;
  const auto cols = std::ssize(squares_);
  compute.pool().parallel_for((cols + kCols - 1) / kCols, [&](std::int64_t item, int) {
    const std::int64_t first = item * kCols;
    const std::int64_t last = std::min(first + kCols, cols);
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t c = first; c < last; ++c) {
        const double value = x[t * cols + c];
        squares_[static_cast<std::size_t>(c)] += value * value;
      }
    }
  });
}

void StatisticsSum::add(Compute& compute, const float* x, const float* original,
                        std::int64_t tokens) {
  if (needs_ == InputNeeds::kSquares) add_squares(compute, x, tokens);
  if (!sums_products(needs_)) return;
  turned_.assign(compute, x, tokens, products_.cols());
  add_products(compute, turned_, products_);
  if (needs_ != InputNeeds::kCross) return;
  turned_original_.assign(compute, original, tokens, products_.cols());
  add_products(compute, turned_original_, turned_, cross_);
}

InputStatistics StatisticsSum::finish(const std::string& layer) {
  InputStatistics result;
  if (sums_products(needs_)) {
    mirror_lower(products_);
    result.squares = diagonal(products_);
  } else {
    result.squares.assign(squares_.begin(), squares_.end());
  }
  const bool finite = std::all_of(result.squares.begin(), result.squares.end(),
                                  [](float square) { return std::isfinite(square); });
  if (!finite) fail("calibration: the inputs of \"{}\" are not all finite numbers", layer);
  result.products = std::move(products_);
  result.cross = std::move(cross_);
  return result;
}

}  // namespace nibble
