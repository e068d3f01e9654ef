// Rounded weights made better where they are: the objective of a row is (w - w') H (w - w')^T, and
// G = (W - W') H, minus half its gradient, says in which direction each weight would have to go.
//   - coordinate descent over the integers (QuantEase, arXiv 2309.01885; CDQuant, 2406.17542): each
//     weight to its best integer while all others stand;
//   - joint least squares over all scales of a row while the integers stand.
// Neither raises the objective of a row (but for the roundings of float32 sums).
#pragma once

#include <span>

#include "nibble/ops/compute.h"
#include "nibble/quant/rounders/integer_rows.h"
#include "nibble/quant/rounders/matrix.h"

namespace nibble {

/// Some rows and what they are rounded for; on the calling thread, `thread` of the pool.
struct RefineTask {
  Compute& compute;
  int thread;
  const Matrix<float>& h;          // (cols, cols), symmetric, positive on the diagonal
  std::span<const float> weights;  // (rows, cols): what w' should come near
};

/// G of the rows, (rows, cols).
Matrix<float> descent_of(const RefineTask& task, const IntegerRows& rows);

/// One sweep over all columns in their order; g is kept up to date.
void descend(const RefineTask& task, IntegerRows& rows, Matrix<float>& g);

/// Solves for the scales of each row: with c_i the integers q - zero of its group i and zeros
/// elsewhere, A_ij = c_i H c_j^T, the change d of the scales is that of (A + 0.01 mean(diag A) I) d
/// = c_i G^T; scales stay within half and one and a half of what they were, are rounded to
/// bfloat16, and change only in rows whose objective falls. g, of the rows as they were, is then
/// out of date.
void fit_scales(const RefineTask& task, const Matrix<float>& g, IntegerRows& rows);

}  // namespace nibble
