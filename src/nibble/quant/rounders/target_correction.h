// Weights that make good for what earlier layers' rounding did to a layer's inputs (GPTAQ, arXiv
// 2504.02692): with X_f the inputs in the unquantized model and X_q those in the quantized one, the
// W* that minimizes |W X_f^T - W* X_q^T|^2 is W + W (X_f^T X_q - H) H^-1 with H = X_q^T X_q; only
// the share alpha of the way is gone, and H is damped, as the whole of it fits the calibration text
// alone.
#pragma once

#include <span>

#include "nibble/ops/compute.h"
#include "nibble/quant/rounders/matrix.h"

namespace nibble {

/// alpha (C - H) (H + lambda I)^-1, (cols, cols), lambda = 0.01 mean(diag H): what W is multiplied
/// with and then added to itself. cross: C = X_f^T X_q; h: H, symmetric.
Matrix<float> target_correction(Compute& compute, const Matrix<float>& cross,
                                const Matrix<float>& h, float alpha);

}  // namespace nibble
