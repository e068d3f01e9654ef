#include "nibble/quant/learning/norm_gradient.h"

#include <algorithm>
#include <cmath>

#include "nibble/core/bfloat16.h"

namespace nibble {
namespace {

constexpr std::int64_t kNormRows = 32;  // whose gradients of the gains are summed together

/// Mean and inverse deviation of a row as the norm has them; the mean of RMSNorm is 0.
struct Moments {
  double mean = 0;
  double inverse = 0;

  Moments(const Norm& norm, const float* x, std::int64_t n) {
    if (norm.kind == NormKind::kLayer) {
      for (std::int64_t i = 0; i < n; ++i) mean += x[i];
      mean /= static_cast<double>(n);
    }
    double square = 0;
    for (std::int64_t i = 0; i < n; ++i) square += (x[i] - mean) * (x[i] - mean);
    inverse = 1 / std::sqrt(square / static_cast<double>(n) + norm.eps);
  }
};

struct NormRow {
  const float* x;
  const float* dy;
  float* dx;
  double* gains;
};

/// dx of one row, and dy * (x - mean) * inverse added to `gains`. With z the normalized row and e =
/// dy * weight: dx = inverse (e - mean(e) - z mean(e z)), without mean(e) for RMSNorm.
void row_backward(const Norm& norm, const NormRow& row, bool adds) {
  const auto& [x, dy, dx, gains] = row;
  const std::int64_t n = std::ssize(norm.weight);
  const Moments moments(norm, x, n);
  const auto z = [&](std::int64_t i) { return (x[i] - moments.mean) * moments.inverse; };
  double mean = 0;
  double product = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const double e = static_cast<double>(dy[i]) * norm.weight[static_cast<std::size_t>(i)];
    gains[i] += dy[i] * z(i);
    mean += e;
    product += e * z(i);
  }
  mean = norm.kind == NormKind::kLayer ? mean / static_cast<double>(n) : 0;
  product /= static_cast<double>(n);
  for (std::int64_t i = 0; i < n; ++i) {
    const double e = static_cast<double>(dy[i]) * norm.weight[static_cast<std::size_t>(i)];
    const auto value = static_cast<float>(moments.inverse * (e - mean - z(i) * product));
    dx[i] = adds ? dx[i] + value : value;
  }
}

}  // namespace

LearnedNorm::LearnedNorm(Norm& norm, float offset)
    : norm_(norm), offset_(offset), first_(norm.weight) {
  numbers_.resize(first_.size());
}

void LearnedNorm::update() {
  for (std::size_t i = 0; i < first_.size(); ++i) {
    norm_.weight[i] = round_to_bfloat16(first_[i] * (1 + numbers_.values[i]) - offset_) + offset_;
  }
}

std::vector<float> LearnedNorm::stored() const {
  std::vector<float> values = norm_.weight;
  for (float& value : values) value -= offset_;
  return values;
}

void LearnedNorm::backward(Compute& compute, const float* x, const float* dy, std::int64_t rows,
                           float* dx, bool adds) {
  const std::size_t n = first_.size();
  const std::int64_t lots = (rows + kNormRows - 1) / kNormRows;
  std::vector<double> gains(static_cast<std::size_t>(lots) * n);
  compute.pool().parallel_for(lots, [&](std::int64_t lot, int) {
    for (std::int64_t r = lot * kNormRows; r < std::min((lot + 1) * kNormRows, rows); ++r) {
      const std::int64_t at = r * static_cast<std::int64_t>(n);
      row_backward(norm_,
                   {x + at, dy + at, dx + at, gains.data() + static_cast<std::size_t>(lot) * n},
                   adds);
    }
  });
  for (std::size_t lot = 0; lot < static_cast<std::size_t>(lots); ++lot) {
    for (std::size_t i = 0; i < n; ++i) {
      numbers_.gradient[i] += static_cast<float>(gains[lot * n + i]) * first_[i];
    }
  }
}

}  // namespace nibble
