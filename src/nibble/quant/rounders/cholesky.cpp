#include "nibble/quant/rounders/cholesky.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <numeric>

#include "nibble/ops/gemm.h"

namespace nibble {
namespace {

constexpr std::int64_t kBlock = 64;

/// A matrix that is factored, and then inverted, in place, block of rows by block of rows.
class LowerFactor {
 public:
  LowerFactor(Compute& compute, Matrix<double>& a) : compute_(compute), a_(a), n_(a.rows()) {}

  /// A = L L^T: the lower triangle becomes L.
  bool factor() {
    std::vector<double> given;
    for (std::int64_t i = 0; i < n_; ++i) given.push_back(a_(i, i));
    for (std::int64_t k = 0; k < n_; k += kBlock) {
      const std::int64_t width = std::min(kBlock, n_ - k);
      if (!factor_small(a_.row(k) + k, width, n_)) return false;
      Matrix<double> turned(width, n_ - k - width);
      solve_below(k, width, turned);
      update_below(k, width, turned);
    }
    for (std::int64_t i = 0; i < n_; ++i) {
      // What is left of a pivot must be more than the roundings of the sums that took it away.
      if (!(a_(i, i) * a_(i, i) > kPivotShare * given[static_cast<std::size_t>(i)])) return false;
    }
    return true;
  }

  /// L becomes L^-1, with zeros above the diagonal.
  void invert() {
    for (std::int64_t k = 0; k < n_; k += kBlock) {
      const std::int64_t width = std::min(kBlock, n_ - k);
      Matrix<double> inverse(width, width);
      invert_small(k, inverse);
      multiply_left(k, inverse);
    }
  }

 private:
  static constexpr double kPivotShare = 1e-13;

  std::int64_t blocks_of(std::int64_t rows) const { return (rows + kBlock - 1) / kBlock; }

  /// Rows below block k: X L_kk^T = A, X in place of A, and -X^T in `turned`.
  void solve_below(std::int64_t k, std::int64_t width, Matrix<double>& turned) {
    const std::int64_t first = k + width;
    const auto solve_row = [&](std::int64_t r) {
      double* x = a_.row(r) + k;
      for (std::int64_t j = 0; j < width; ++j) {
        const double* l = a_.row(k + j) + k;
        double sum = x[j];
        for (std::int64_t i = 0; i < j; ++i) sum -= x[i] * l[i];
        x[j] = sum / l[j];
        turned(j, r - first) = -x[j];
      }
    };
    compute_.pool().parallel_for(blocks_of(n_ - first), [&](std::int64_t item, int) {
      const std::int64_t begin = first + item * kBlock;
      for (std::int64_t r = begin; r < std::min(begin + kBlock, n_); ++r) solve_row(r);
    });
  }

  /// A_ij -= X_i X_j^T for all blocks i >= j below block k.
  void update_below(std::int64_t k, std::int64_t width, const Matrix<double>& turned) {
    const std::int64_t first = k + width;
    const std::int64_t below = n_ - first;
    compute_.pool().parallel_for(blocks_of(below), [&](std::int64_t item, int thread) {
      const std::int64_t row = item * kBlock;
      const std::int64_t rows = std::min(kBlock, below - row);
      gemm_here(compute_, thread,
                GemmTask<double>{.a = a_.row(first + row) + k,
                                 .a_stride = n_,
                                 .b = turned.data(),
                                 .b_stride = below,
                                 .out = a_.row(first + row) + first,
                                 .out_stride = n_,
                                 .rows = rows,
                                 .depth = width,
                                 .cols = row + rows});
    });
  }

  /// The inverse of the block on the diagonal at k by forward substitution, a column at a time; it
  /// takes the block's place.
  void invert_small(std::int64_t k, Matrix<double>& inverse) {
    const std::int64_t width = inverse.rows();
    for (std::int64_t c = 0; c < width; ++c) {
      for (std::int64_t r = c; r < width; ++r) {
        const double* l = a_.row(k + r) + k;
        double sum = r == c ? 1 : 0;
        for (std::int64_t i = c; i < r; ++i) sum -= l[i] * inverse(i, c);
        inverse(r, c) = sum / l[r];
      }
    }
    for (std::int64_t r = 0; r < width; ++r) {
      std::copy_n(inverse.row(r), width, a_.row(k + r) + k);
    }
  }

  /// Left of the diagonal, rows k .. k + width become -inverse (L_k,0..k  L^-1_0..k,0..k), whose
  /// last factor stands above already, and has zeros above its diagonal.
  void multiply_left(std::int64_t k, Matrix<double>& inverse) {
    const std::int64_t width = inverse.rows();
    for (double& value : inverse.all()) value = -value;
    Matrix<double> product(width, k);
    compute_.pool().parallel_for(blocks_of(k), [&](std::int64_t item, int thread) {
      const std::int64_t col = item * kBlock;
      GemmTask<double> task{.a = a_.row(k) + col,
                            .a_stride = n_,
                            .b = a_.row(col) + col,
                            .b_stride = n_,
                            .out = product.data() + col,
                            .out_stride = k,
                            .rows = width,
                            .depth = k - col,
                            .cols = kBlock};
      gemm_here(compute_, thread, task);
    });
    for (std::int64_t r = 0; r < width; ++r) std::fill_n(a_.row(k + r), k, 0.0);
    gemm(compute_, GemmTask<double>{.a = inverse.data(),
                                    .a_stride = width,
                                    .b = product.data(),
                                    .b_stride = k,
                                    .out = a_.row(k),
                                    .out_stride = n_,
                                    .rows = width,
                                    .depth = width,
                                    .cols = k});
  }

  Compute& compute_;
  Matrix<double>& a_;
  std::int64_t n_;
};

}  // namespace

std::vector<std::int32_t> natural_order(std::int64_t n) {
  std::vector<std::int32_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  return order;
}

std::vector<std::int32_t> order_by_diagonal(const Matrix<float>& h) {
  std::vector<std::int32_t> order = natural_order(h.rows());
  std::stable_sort(order.begin(), order.end(),
                   [&](std::int32_t a, std::int32_t b) { return h(a, a) > h(b, b); });
  return order;
}

Matrix<float> inverse_factor(Compute& compute, const Matrix<float>& h,
                             const std::vector<std::int32_t>& order) {
  // With J the reversal, J P H P^T J = L L^T gives (P H P^T)^-1 = U^T U with U = J L^-1 J, which is
  // upper triangular: no inverse needs to be factored anew.
  const std::int64_t n = h.rows();
  assert(h.cols() == n && std::ssize(order) == n);
  const auto feature = [&](std::int64_t i) { return order[static_cast<std::size_t>(n - 1 - i)]; };
  double trace = 0;
  for (std::int64_t i = 0; i < n; ++i) trace += std::fabs(h(i, i));
  const double mean = trace > 0 ? trace / static_cast<double>(n) : 1;
  Matrix<double> a(n, n);
  LowerFactor lower(compute, a);
  double added = 0;
  do {
    a.clear();
    for (std::int64_t i = 0; i < n; ++i) {
      const float* row = h.row(feature(i));
      for (std::int64_t j = 0; j <= i; ++j) a(i, j) = row[feature(j)];
      a(i, i) += added;
    }
    added = added == 0 ? 0.01 * mean : 10 * added;
  } while (!lower.factor());  // in the end the diagonal outweighs all else
  lower.invert();
  Matrix<float> u(n, n);
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = i; j < n; ++j) u(i, j) = static_cast<float>(a(n - 1 - i, n - 1 - j));
  }
  return u;
}

bool factor_small(double* a, std::int64_t n, std::int64_t stride) {
  for (std::int64_t j = 0; j < n; ++j) {
    double* row = a + j * stride;
    for (std::int64_t i = 0; i < j; ++i) {
      const double* other = a + i * stride;
      double sum = row[i];
      for (std::int64_t k = 0; k < i; ++k) sum -= row[k] * other[k];
      row[i] = sum / other[i];
    }
    double pivot = row[j];
    for (std::int64_t k = 0; k < j; ++k) pivot -= row[k] * row[k];
    if (!(pivot > 0)) return false;
    row[j] = std::sqrt(pivot);
  }
  return true;
}

void solve_small(const double* factor, std::int64_t n, double* b) {
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t k = 0; k < i; ++k) b[i] -= factor[i * n + k] * b[k];
    b[i] /= factor[i * n + i];
  }
  for (std::int64_t i = n - 1; i >= 0; --i) {
    for (std::int64_t k = i + 1; k < n; ++k) b[i] -= factor[k * n + i] * b[k];
    b[i] /= factor[i * n + i];
  }
}

}  // namespace nibble
