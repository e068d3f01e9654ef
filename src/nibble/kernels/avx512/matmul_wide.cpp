// Products with bfloat16 activations by float32 multiply-adds, called where they are quicker than
// VDPBF16PS (matmul.cpp).
#include "nibble/kernels/avx512/avx512.h"
#include "nibble/kernels/avx512/simd.h"
// The set's vectors first.
#include "nibble/kernels/avx512/codes.h"
#include "nibble/kernels/avx512/matmul_bf16.h"

namespace nibble::avx512 {
namespace {

template <WeightFormat format>
void multiply_wide(const MatmulTask& task) {
  multiply_bf16<format, Fetch::kToL2, Widened>(task);
}

}  // namespace

void matmul_wide_bf16(const MatmulTask& task) {
  multiply_wide<WeightFormat::kBF16>(task);
}
void matmul_wide_w4(const MatmulTask& task) {
  multiply_wide<WeightFormat::kW4>(task);
}
void matmul_wide_w3(const MatmulTask& task) {
  multiply_wide<WeightFormat::kW3>(task);
}
void matmul_wide_w8(const MatmulTask& task) {
  multiply_wide<WeightFormat::kW8>(task);
}

}  // namespace nibble::avx512
