// The sum of x x^T over calibration tokens in float32, and by it the squared output error of a
// linear layer whose weights are off: sum over tokens of |E x|^2 = sum over rows e of E of
// e (sum x x^T) e^T. So what a rounding costs takes one product with a square matrix, however many
// tokens there are.
#pragma once

#include <cstdint>
#include <span>

#include "nibble/ops/compute.h"
#include "nibble/quant/rounders/matrix.h"

namespace nibble {

class Gram {
 public:
  /// Zeros, of inputs of `cols` features. Throws Error if there is no memory.
  explicit Gram(std::int64_t cols);

  std::int64_t cols() const { return sums_.cols(); }

  /// More tokens; x: (tokens, cols). The result does not depend on the threads.
  void add(Compute& compute, const float* x, std::int64_t tokens);

  /// Once, behind the last add() and before the first squared_output(): leaves the triangle below
  /// the diagonal, and half of the diagonal.
  void finish();

  /// The sum over tokens and rows of (e x)^2; errors: (rows, cols). On the calling thread, `thread`
  /// of the pool.
  double squared_output(Compute& compute, int thread, std::span<const float> errors) const;

 private:
  Matrix<float> sums_;  // (cols, cols), kept up at and below the diagonal
  Buffer turned_;       // (cols, tokens) of what is added
};

}  // namespace nibble
