#include <algorithm>
#include <cassert>
#include <vector>

#include "nibble/core/bfloat16.h"
#include "nibble/ops/gemm.h"
#include "nibble/quant/rounders/cholesky.h"
#include "nibble/quant/rounders/refine.h"

namespace nibble {
namespace {

constexpr double kRidge = 0.01;

/// q - zero of all weights, (rows, cols).
Matrix<float> codes_of(const IntegerRows& rows) {
  Matrix<float> codes(rows.rows, rows.cols);
  for (std::int64_t r = 0; r < rows.rows; ++r) {
    for (std::int64_t c = 0; c < rows.cols; ++c) {
      codes(r, c) = static_cast<float>(rows.q_row(r)[c]) - rows.grid(r, c / rows.group_size).zero;
    }
  }
  return codes;
}

double dot(const float* a, const float* b, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

/// A of every row, (rows, groups * groups), lower triangles.
Matrix<double> products_of_groups(const RefineTask& task, const IntegerRows& rows,
                                  const Matrix<float>& codes) {
  const std::int64_t groups = rows.groups();
  const std::int64_t size = rows.group_size;
  Matrix<double> products(rows.rows, groups * groups);
  Matrix<float> part(rows.rows, rows.cols);  // c_i H up to group i's last column
  for (std::int64_t i = 0; i < groups; ++i) {
    part.clear();
    gemm_here(task.compute, task.thread,
              GemmTask<float>{.a = codes.data() + i * size,
                              .a_stride = rows.cols,
                              .b = task.h.row(i * size),
                              .b_stride = rows.cols,
                              .out = part.data(),
                              .out_stride = rows.cols,
                              .rows = rows.rows,
                              .depth = size,
                              .cols = (i + 1) * size});
    for (std::int64_t r = 0; r < rows.rows; ++r) {
      for (std::int64_t j = 0; j <= i; ++j) {
        products(r, i * groups + j) = dot(part.row(r) + j * size, codes.row(r) + j * size, size);
      }
    }
  }
  return products;
}

/// d of the header for one row: (groups); nothing where there is none.
std::vector<double> solve_row(const double* products, std::vector<double> right) {
  const auto groups = static_cast<std::int64_t>(right.size());
  double trace = 0;
  for (std::int64_t i = 0; i < groups; ++i) trace += products[i * groups + i];
  if (!(trace > 0)) return {};  // all integers are zero points
  std::vector<double> factor(products, products + groups * groups);
  for (std::int64_t i = 0; i < groups; ++i) {
    factor[static_cast<std::size_t>(i * groups + i)] +=
        kRidge * trace / static_cast<double>(groups);
  }
  if (!factor_small(factor.data(), groups, groups)) return {};
  solve_small(factor.data(), groups, right.data());
  return right;
}

/// What the objective of a row becomes larger by: d A d^T - 2 d b^T.
double rise(const double* products, const std::vector<double>& b, const std::vector<double>& d) {
  const std::size_t groups = d.size();
  double sum = 0;
  for (std::size_t i = 0; i < groups; ++i) {
    sum += d[i] * (d[i] * products[i * groups + i] - 2 * b[i]);
    for (std::size_t j = 0; j < i; ++j) sum += 2 * d[i] * d[j] * products[i * groups + j];
  }
  return sum;
}

}  // namespace

void fit_scales(const RefineTask& task, const Matrix<float>& g, IntegerRows& rows) {
  assert(g.rows() == rows.rows && g.cols() == rows.cols);
  const std::int64_t groups = rows.groups();
  const std::int64_t size = rows.group_size;
  const Matrix<float> codes = codes_of(rows);
  const Matrix<double> products = products_of_groups(task, rows, codes);
  std::vector<double> right(static_cast<std::size_t>(groups));
  for (std::int64_t r = 0; r < rows.rows; ++r) {
    for (std::int64_t i = 0; i < groups; ++i) {
      right[static_cast<std::size_t>(i)] = dot(codes.row(r) + i * size, g.row(r) + i * size, size);
    }
    std::vector<double> change = solve_row(products.row(r), right);
    if (change.empty()) continue;
    std::vector<float> scales(change.size());
    for (std::size_t i = 0; i < change.size(); ++i) {
      const double old = rows.grid(r, static_cast<std::int64_t>(i)).scale;
      scales[i] =
          round_to_bfloat16(static_cast<float>(std::clamp(old + change[i], 0.5 * old, 1.5 * old)));
      change[i] = static_cast<double>(scales[i]) - old;
    }
    if (!(rise(products.row(r), right, change) < 0)) continue;
    for (std::int64_t i = 0; i < groups; ++i) {
      rows.set_scale(r, i, scales[static_cast<std::size_t>(i)]);
    }
  }
}

}  // namespace nibble
