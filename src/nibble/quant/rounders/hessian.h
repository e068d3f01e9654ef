// Second moments of a linear layer's inputs over calibration tokens, X (tokens, cols): H = X^T X is
// (half of) the Hessian of the squared error of the layer's output, |(W - W') X^T|^2, in each row
// of W. What makes it fit for rounding: shrinkage towards its diagonal (a small sample shows
// correlations that are not there; Ledoit & Wolf 2004) and damping.
#pragma once

#include <cstdint>
#include <vector>

#include "nibble/core/bfloat16.h"
#include "nibble/ops/compute.h"
#include "nibble/quant/rounders/matrix.h"

namespace nibble {

/// Input rows of a layer, rounded to bfloat16 and turned, so that a feature's values lie together.
class TurnedRows {
 public:
  /// x: (tokens, cols). Rounding does nothing to inputs that a layer takes in bfloat16.
  void assign(Compute& compute, const float* x, std::int64_t tokens, std::int64_t cols);

  std::int64_t tokens() const { return tokens_; }
  std::int64_t cols() const { return cols_; }
  const BFloat16* feature(std::int64_t c) const { return data_ + c * tokens_; }

 private:
  std::int64_t tokens_ = 0;
  std::int64_t cols_ = 0;
  BFloat16* data_ = nullptr;  // (cols, tokens)
  Buffer memory_;
};

/// Some features of rows: begin ... end - 1, begin being a multiple of 16.
struct Features {
  const TurnedRows& rows;
  std::int64_t begin;
  std::int64_t end;
};

/// Adds x^T y to element (i, j) of `sum`, i counted from x.begin and j from y.begin. On the calling
/// thread, `thread` of the pool.
void add_products_here(Compute& compute, int thread, const Features& x, const Features& y,
                       float* sum, std::int64_t stride);

/// sum += x^T y, (x.cols, y.cols), over as many tokens. Products are exact, sums float32 in the
/// order of the tokens; the result does not depend on the threads.
void add_products(Compute& compute, const TurnedRows& x, const TurnedRows& y, Matrix<float>& sum);

/// sum += x^T x, of which only elements (i, j) with j <= i are kept up.
void add_products(Compute& compute, const TurnedRows& x, Matrix<float>& sum);

/// Copies the elements below the diagonal to those above it.
void mirror_lower(Matrix<float>& h);

/// The sums of squares of each feature: the diagonal.
std::vector<float> diagonal(const Matrix<float>& h);

/// H <- (1 - share) H + share diag(H).
void shrink(Matrix<float>& h, float share);

/// H <- H + share mean(diag H) I; of inputs that are all zero: H <- I, as if all were alike.
void damp(Matrix<float>& h, float share);

}  // namespace nibble
