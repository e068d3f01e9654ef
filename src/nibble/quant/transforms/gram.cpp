#include "nibble/quant/transforms/gram.h"

#include <algorithm>
#include <vector>

#include "nibble/ops/gemm.h"

namespace nibble {
namespace {

constexpr std::int64_t kCols = 256;  // of one product
constexpr std::int64_t kRows = 96;

}  // namespace

Gram::Gram(std::int64_t cols) : sums_(cols, cols) {}

void Gram::add(Compute& compute, const float* x, std::int64_t tokens) {
  const std::int64_t n = cols();
  float* turned = turned_.as<float>(static_cast<std::size_t>(n * tokens));
  constexpr std::int64_t kTurned = 16;
  compute.pool().parallel_for((n + kTurned - 1) / kTurned, [&](std::int64_t item, int) {
    const std::int64_t last = std::min(n, (item + 1) * kTurned);
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t c = item * kTurned; c < last; ++c) turned[c * tokens + t] = x[t * n + c];
    }
  });
  const std::int64_t row_tasks = (n + kRows - 1) / kRows;
  const std::int64_t col_tasks = (n + kCols - 1) / kCols;
  compute.pool().parallel_for(row_tasks * col_tasks, [&](std::int64_t item, int thread) {
    const std::int64_t row = item / col_tasks * kRows;
    const std::int64_t col = item % col_tasks * kCols;
    const std::int64_t rows = std::min(kRows, n - row);
    if (col >= row + rows) return;  // above the diagonal
    gemm_here(compute, thread,
              GemmTask<float>{.a = turned + row * tokens,
                              .a_stride = tokens,
                              .b = x + col,
                              .b_stride = n,
                              .out = sums_.row(row) + col,
                              .out_stride = n,
                              .rows = rows,
                              .depth = tokens,
                              .cols = std::min(kCols, row + rows - col)});
  });
}

void Gram::finish() {
  for (std::int64_t row = 0; row < cols(); ++row) {
    sums_(row, row) /= 2;
    std::fill(sums_.row(row) + row + 1, sums_.row(row) + cols(), 0.0F);
  }
}

double Gram::squared_output(Compute& compute, int thread, std::span<const float> errors) const {
  const std::int64_t n = cols();
  const std::int64_t rows = std::ssize(errors) / n;
  std::vector<float> products(static_cast<std::size_t>(rows * kCols));
  double sum = 0;
  for (std::int64_t col = 0; col < n; col += kCols) {
    const std::int64_t width = std::min(kCols, n - col);
    std::fill(products.begin(), products.end(), 0.0F);
    gemm_here(compute, thread,
              GemmTask<float>{.a = errors.data() + col,
                              .a_stride = n,
                              .b = sums_.row(col) + col,
                              .b_stride = n,
                              .out = products.data(),
                              .out_stride = kCols,
                              .rows = rows,
                              .depth = n - col,
                              .cols = width});
    for (std::int64_t r = 0; r < rows; ++r) {
      const float* error = errors.data() + r * n + col;
      for (std::int64_t c = 0; c < width; ++c) {
        sum += static_cast<double>(products[static_cast<std::size_t>(r * kCols + c)]) * error[c];
      }
    }
  }
  return 2 * sum;
}

}  // namespace nibble
