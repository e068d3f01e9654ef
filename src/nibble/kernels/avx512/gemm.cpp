#include "nibble/kernels/avx512/avx512.h"
#include "nibble/kernels/avx512/simd.h"
// The set's vectors first.
#include "nibble/kernels/vector/gemm.h"

namespace nibble::avx512 {

void gemm_f32(const GemmTask<float>& task) {
  multiply_gemm(task);
}
void gemm_f64(const GemmTask<double>& task) {
  multiply_gemm(task);
}

}  // namespace nibble::avx512
