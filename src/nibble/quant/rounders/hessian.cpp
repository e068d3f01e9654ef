#include "nibble/quant/rounders/hessian.h"

#include <algorithm>
#include <cassert>

namespace nibble {
namespace {

constexpr std::int64_t kTurn = 32;      // features that are turned at a time
constexpr std::int64_t kFeatures = 32;  // columns of a sum that a thread makes at a time: a panel

/// Adds to columns first .. first + kFeatures of `sum` those of x^T y, from row `row` on.
void add_columns(Compute& compute, int thread, const TurnedRows& x, const TurnedRows& y,
                 std::int64_t first, std::int64_t row, Matrix<float>& sum) {
  const std::int64_t count = std::min(kFeatures, y.cols() - first);
  const std::int64_t rows = x.cols() - row;
  const std::size_t kernel_bytes =
      (compute.kernels().matmul_scratch_bytes(y.tokens()) + 63) / 64 * 64;
  std::byte* scratch = compute.thread_scratch(
      thread, kernel_bytes + static_cast<std::size_t>(rows * kFeatures) * sizeof(float));
  auto* products = reinterpret_cast<float*>(scratch + kernel_bytes);  // (rows, kFeatures)
  MatmulTask task{.weight = {.format = WeightFormat::kBF16,
                             .rows = y.cols(),
                             .cols = y.tokens(),
                             .data = y.feature(0)}};
  task.x = x.feature(row);
  task.x_stride = x.tokens();
  task.tokens = rows;
  task.row_begin = first;
  task.row_end = first + count;
  task.out = products - first;
  task.out_stride = kFeatures;
  task.scratch = scratch;
  compute.kernels().matmul_bf16[static_cast<int>(WeightFormat::kBF16)](task);
  for (std::int64_t r = 0; r < rows; ++r) {
    float* to = sum.row(row + r) + first;
    for (std::int64_t c = 0; c < count; ++c) to[c] += products[r * kFeatures + c];
  }
}

}  // namespace

void TurnedRows::assign(Compute& compute, const float* x, std::int64_t tokens, std::int64_t cols) {
  tokens_ = tokens;
  cols_ = cols;
  data_ = memory_.as<BFloat16>(static_cast<std::size_t>(tokens * cols));
  compute.pool().parallel_for((cols + kTurn - 1) / kTurn, [&](std::int64_t item, int) {
    const std::int64_t first = item * kTurn;
    const std::int64_t count = std::min(kTurn, cols - first);
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t c = 0; c < count; ++c) {
        data_[(first + c) * tokens + t] = to_bfloat16(x[t * cols + first + c]);
      }
    }
  });
}

void add_products(Compute& compute, const TurnedRows& x, const TurnedRows& y, Matrix<float>& sum) {
  assert(x.tokens() == y.tokens() && sum.rows() == x.cols() && sum.cols() == y.cols());
  compute.pool().parallel_for((y.cols() + kFeatures - 1) / kFeatures,
                              [&](std::int64_t item, int thread) {
                                add_columns(compute, thread, x, y, item * kFeatures, 0, sum);
                              });
}

void add_products(Compute& compute, const TurnedRows& x, Matrix<float>& sum) {
  assert(sum.rows() == x.cols() && sum.cols() == x.cols());
  compute.pool().parallel_for(
      (x.cols() + kFeatures - 1) / kFeatures, [&](std::int64_t item, int thread) {
        add_columns(compute, thread, x, x, item * kFeatures, item * kFeatures, sum);
      });
}

void mirror_lower(Matrix<float>& h) {
  constexpr std::int64_t kTile = 32;  // what is read down a column stays in the cache
  for (std::int64_t i = 0; i < h.rows(); i += kTile) {
    for (std::int64_t j = 0; j <= i; j += kTile) {
      for (std::int64_t r = i; r < std::min(i + kTile, h.rows()); ++r) {
        for (std::int64_t c = j; c < std::min(j + kTile, r); ++c) h(c, r) = h(r, c);
      }
    }
  }
}

std::vector<float> diagonal(const Matrix<float>& h) {
  std::vector<float> values(static_cast<std::size_t>(h.rows()));
  for (std::int64_t i = 0; i < h.rows(); ++i) values[static_cast<std::size_t>(i)] = h(i, i);
  return values;
}

void shrink(Matrix<float>& h, float share) {
  for (std::int64_t r = 0; r < h.rows(); ++r) {
    const float kept = h(r, r);
    for (std::int64_t c = 0; c < h.cols(); ++c) h(r, c) *= 1 - share;
    h(r, r) = kept;
  }
}

void damp(Matrix<float>& h, float share) {
  double sum = 0;
  for (const float value : diagonal(h)) sum += value;
  const double mean = sum / static_cast<double>(h.rows());
  const float added = mean > 0 ? static_cast<float>(share * mean) : 1.0F;
  for (std::int64_t i = 0; i < h.rows(); ++i) h(i, i) += added;
}

}  // namespace nibble
