#include <algorithm>
#include <cassert>

#include "nibble/ops/gemm.h"
#include "nibble/quant/rounders/refine.h"

namespace nibble {
namespace {

constexpr std::int64_t kDescentBlock =
    64;  // columns, whose changes reach the others' G all at once

/// One row's columns begin .. begin + width. g: their part of G, which serves as scratch. changes:
/// (width), minus what each weight became larger by.
void descend_block(const Matrix<float>& h, std::int64_t begin, std::int64_t width, std::int64_t row,
                   float* g, float* changes, IntegerRows& rows) {
  std::uint8_t* q = rows.q_row(row) + begin;
  for (std::int64_t j = 0; j < width; ++j) {
    changes[j] = 0;
    const IntegerGrid grid = rows.grid(row, (begin + j) / rows.group_size);
    const float* h_row = h.row(begin + j) + begin;
    const auto old = static_cast<float>(q[j]);
    const float next = grid.nearest(grid.value(old) + g[j] / h_row[j]);
    if (next == old) continue;
    q[j] = static_cast<std::uint8_t>(next);
    const float change = (old - next) * grid.scale;
    changes[j] = change;
    for (std::int64_t k = j + 1; k < width; ++k) g[k] += change * h_row[k];
  }
}

}  // namespace

Matrix<float> descent_of(const RefineTask& task, const IntegerRows& rows) {
  Matrix<float> off(rows.rows, rows.cols);  // W - W'
  for (std::int64_t r = 0; r < rows.rows; ++r) {
    const float* w = task.weights.data() + r * rows.cols;
    const std::uint8_t* q = rows.q_row(r);
    for (std::int64_t g = 0; g < rows.groups(); ++g) {
      const IntegerGrid grid = rows.grid(r, g);
      for (std::int64_t c = g * rows.group_size; c < (g + 1) * rows.group_size; ++c) {
        off(r, c) = w[c] - grid.value(static_cast<float>(q[c]));
      }
    }
  }
  Matrix<float> product(rows.rows, rows.cols);
  gemm_here(task.compute, task.thread,
            GemmTask<float>{.a = off.data(),
                            .a_stride = rows.cols,
                            .b = task.h.data(),
                            .b_stride = rows.cols,
                            .out = product.data(),
                            .out_stride = rows.cols,
                            .rows = rows.rows,
                            .depth = rows.cols,
                            .cols = rows.cols});
  return product;
}

void descend(const RefineTask& task, IntegerRows& rows, Matrix<float>& g) {
  const std::int64_t cols = rows.cols;
  assert(task.h.cols() == cols && g.cols() == cols && g.rows() == rows.rows);
  Matrix<float> changes(rows.rows, kDescentBlock);
  float local[kDescentBlock];
  for (std::int64_t begin = 0; begin < cols; begin += kDescentBlock) {
    const std::int64_t width = std::min(kDescentBlock, cols - begin);
    for (std::int64_t r = 0; r < rows.rows; ++r) {
      std::copy_n(g.row(r) + begin, width, local);
      descend_block(task.h, begin, width, r, local, changes.row(r), rows);
    }
    gemm_here(task.compute, task.thread,
              GemmTask<float>{.a = changes.data(),
                              .a_stride = kDescentBlock,
                              .b = task.h.row(begin),
                              .b_stride = cols,
                              .out = g.data(),
                              .out_stride = cols,
                              .rows = rows.rows,
                              .depth = width,
                              .cols = cols});
  }
}

}  // namespace nibble
