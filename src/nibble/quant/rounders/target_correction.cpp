#include "nibble/quant/rounders/target_correction.h"

#include <cassert>
#include <cstring>

#include "nibble/ops/gemm.h"
#include "nibble/quant/rounders/cholesky.h"
#include "nibble/quant/rounders/hessian.h"

namespace nibble {
namespace {

constexpr float kCorrectionDamping = 0.01F;

Matrix<float> multiply(Compute& compute, const Matrix<float>& a, const Matrix<float>& b) {
  Matrix<float> out(a.rows(), b.cols());
  gemm(compute, GemmTask<float>{.a = a.data(),
                                .a_stride = a.cols(),
                                .b = b.data(),
                                .b_stride = b.cols(),
                                .out = out.data(),
                                .out_stride = out.cols(),
                                .rows = a.rows(),
                                .depth = a.cols(),
                                .cols = b.cols()});
  return out;
}

Matrix<float> turned(const Matrix<float>& a) {
  Matrix<float> out(a.cols(), a.rows());
  for (std::int64_t r = 0; r < a.rows(); ++r) {
    for (std::int64_t c = 0; c < a.cols(); ++c) out(c, r) = a(r, c);
  }
  return out;
}

}  // namespace

Matrix<float> target_correction(Compute& compute, const Matrix<float>& cross,
                                const Matrix<float>& h, float alpha) {
  const std::int64_t n = h.rows();
  assert(h.cols() == n && cross.rows() == n && cross.cols() == n);
  Matrix<float> damped(n, n);
  std::memcpy(damped.data(), h.data(), h.all().size_bytes());
  damp(damped, kCorrectionDamping);
  const Matrix<float> u = inverse_factor(compute, damped, natural_order(n));
  Matrix<float> shift(n, n);
  for (std::int64_t i = 0; i < n * n; ++i)
    shift.data()[i] = alpha * (cross.data()[i] - h.data()[i]);
  return multiply(compute, multiply(compute, shift, turned(u)), u);  // (H + lambda I)^-1 = U^T U
}

}  // namespace nibble
