#include "nibble/quant/rounders/hessian.h"

#include <algorithm>
#include <cassert>

#include "nibble/weights/dense.h"

namespace nibble {
namespace {

constexpr std::int64_t kTurn = 32;   // features that are turned at a time
constexpr std::int64_t kPanel = 32;  // columns of a sum that are made at a time

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

void add_products_here(Compute& compute, int thread, const Features& x, const Features& y,
                       float* sum, std::int64_t stride) {
  assert(x.rows.tokens() == y.rows.tokens());
  const std::int64_t tokens = y.rows.tokens();
  const std::int64_t rows = x.end - x.begin;
  const std::size_t kernel_bytes = (compute.kernels().matmul_scratch_bytes(tokens) + 63) / 64 * 64;
  std::byte* scratch = compute.thread_scratch(
      thread, kernel_bytes + static_cast<std::size_t>(rows * kPanel) * sizeof(float));
  auto* products = reinterpret_cast<float*>(scratch + kernel_bytes);  // (rows, kPanel)
  for (std::int64_t first = y.begin; first < y.end; first += kPanel) {
    const std::int64_t count = std::min(kPanel, y.end - first);
    MatmulTask task{};
    task.weight.format = dense_format(DType::kBF16);
    task.weight.rows = y.rows.cols();
    task.weight.cols = tokens;
    task.weight.parts[kCodesPart] = y.rows.feature(0);
    task.x = x.rows.feature(x.begin);
    task.x_stride = tokens;
    task.tokens = rows;
    task.row_begin = first;
    task.row_end = first + count;
    task.out = products - first;
    task.out_stride = kPanel;
    task.scratch = scratch;
    compute.kernels().matmul_bf16[static_cast<int>(task.weight.format)](task);
    for (std::int64_t r = 0; r < rows; ++r) {
      float* to = sum + r * stride + first - y.begin;
      for (std::int64_t c = 0; c < count; ++c) to[c] += products[r * kPanel + c];
    }
  }
}

void add_products(Compute& compute, const TurnedRows& x, const TurnedRows& y, Matrix<float>& sum) {
  assert(sum.rows() == x.cols() && sum.cols() == y.cols());
  compute.pool().parallel_for((y.cols() + kPanel - 1) / kPanel, [&](std::int64_t item, int thread) {
    const std::int64_t first = item * kPanel;
    add_products_here(compute, thread, {x, 0, x.cols()},
                      {y, first, std::min(first + kPanel, y.cols())}, sum.data() + first,
                      sum.cols());
  });
}

void add_products(Compute& compute, const TurnedRows& x, Matrix<float>& sum) {
  assert(sum.rows() == x.cols() && sum.cols() == x.cols());
  compute.pool().parallel_for((x.cols() + kPanel - 1) / kPanel, [&](std::int64_t item, int thread) {
    const std::int64_t first = item * kPanel;
    add_products_here(compute, thread, {x, first, x.cols()},
                      {x, first, std::min(first + kPanel, x.cols())}, sum.row(first) + first,
                      sum.cols());
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
