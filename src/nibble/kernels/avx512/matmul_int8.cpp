#include "nibble/kernels/avx512/avx512.h"
#include "nibble/kernels/avx512/simd.h"
// The set's vectors first.
#include "nibble/kernels/avx512/int8.h"
#include "nibble/kernels/vector/matmul_int8.h"
#include "nibble/kernels/vector/quantize.h"

namespace nibble::avx512 {

void matmul_int8_w4(const MatmulTask& task) {
  multiply_int8<4>(task);
}
void matmul_int8_w3(const MatmulTask& task) {
  multiply_int8<3>(task);
}
void matmul_int8_w8(const MatmulTask& task) {
  multiply_int8<8>(task);
}
std::size_t matmul_int8_scratch_bytes() {
  return sizeof(Int8Panel);
}
void quantize_int8(const QuantizeTask& task) {
  quantize_row(task);
}
float int8_scale(const float* x, std::int64_t n) {
  return group_scale(x, n);
}

}  // namespace nibble::avx512
