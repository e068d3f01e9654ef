// The factor of a Hessian's inverse that GPTQ goes by, in double precision.
#pragma once

#include <cstdint>
#include <vector>

#include "nibble/ops/compute.h"
#include "nibble/quant/rounders/matrix.h"

namespace nibble {

/// 0, 1, ... n - 1.
std::vector<std::int32_t> natural_order(std::int64_t n);

/// The features by descending diagonal; ties by index.
std::vector<std::int32_t> order_by_diagonal(const Matrix<float>& h);

/// U, upper triangular, with U^T U = (P H P^T)^-1, row i of P being that of feature order[i]; zeros
/// below the diagonal. H: symmetric, finite. Where it is not positive definite as far as double
/// precision tells, 0.01 of the mean of its diagonal is added to all of it, then ten times as much,
/// and so on. The result does not depend on the threads.
Matrix<float> inverse_factor(Compute& compute, const Matrix<float>& h,
                             const std::vector<std::int32_t>& order);

/// In place, on the calling thread: the lower Cholesky factor of a small symmetric matrix, (n, n),
/// whose lower triangle is read. False if it is not positive definite.
bool factor_small(double* a, std::int64_t n, std::int64_t stride);

/// Solves L L^T x = b in place.
void solve_small(const double* factor, std::int64_t n, double* b);

}  // namespace nibble
