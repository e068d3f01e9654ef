#include "nibble/kernels/avx512/avx512.h"
#include "nibble/kernels/avx512/simd.h"
// The set's vectors first.
#include "nibble/kernels/vector/softmax.h"

namespace nibble::avx512 {

float log_sum_exp(const float* x, std::int64_t n) {
  return log_sum_exp_row(x, n);
}
float softmax(const float* x, std::int64_t n, float* out) {
  return softmax_row(x, n, out);
}

}  // namespace nibble::avx512
