#include "nibble/quant/rounders/gptq.h"

#include <algorithm>
#include <cassert>

#include "nibble/ops/gemm.h"

namespace nibble {
namespace {

constexpr std::int64_t kGptqBlock =
    64;  // columns, whose errors reach the columns behind all at once

/// Rounds columns begin .. begin + width of the order in one row; `w` holds what they are by now.
/// errors: (width), the negated error of each over its U_jj.
void round_block(const GptqOrder& order, std::int64_t begin, std::int64_t width, std::int64_t row,
                 float* w, float* errors, IntegerRows& rows) {
  for (std::int64_t j = 0; j < width; ++j) {
    const std::int64_t column = order.columns[static_cast<std::size_t>(begin + j)];
    const IntegerGrid grid = rows.grid(row, column / rows.group_size);
    const float q = grid.nearest(w[j]);
    rows.q_row(row)[column] = static_cast<std::uint8_t>(q);
    const float* u = order.factor.row(begin + j) + begin;
    const float error = (grid.value(q) - w[j]) / u[j];
    errors[j] = error;
    for (std::int64_t k = j + 1; k < width; ++k) w[k] += error * u[k];
  }
}

}  // namespace

void round_gptq(Compute& compute, int thread, const GptqOrder& order,
                std::span<const float> weights, IntegerRows& rows) {
  const std::int64_t cols = rows.cols;
  assert(std::ssize(weights) == rows.rows * cols && order.factor.cols() == cols);
  Matrix<float> left(rows.rows, cols);  // the weights in order, made good for what is rounded
  for (std::int64_t r = 0; r < rows.rows; ++r) {
    const float* from = weights.data() + r * cols;
    float* to = left.row(r);
    for (const std::int32_t column : order.columns) *to++ = from[column];
  }
  Matrix<float> errors(rows.rows, kGptqBlock);
  for (std::int64_t begin = 0; begin < cols; begin += kGptqBlock) {
    const std::int64_t width = std::min(kGptqBlock, cols - begin);
    for (std::int64_t r = 0; r < rows.rows; ++r) {
      round_block(order, begin, width, r, left.row(r) + begin, errors.row(r), rows);
    }
    const std::int64_t behind = begin + width;
    gemm_here(compute, thread,
              GemmTask<float>{.a = errors.data(),
                              .a_stride = kGptqBlock,
                              .b = order.factor.row(begin) + behind,
                              .b_stride = cols,
                              .out = left.data() + behind,
                              .out_stride = cols,
                              .rows = rows.rows,
                              .depth = width,
                              .cols = cols - behind});
  }
}

}  // namespace nibble
