#include "nibble/kernels/scalar/scalar.h"

namespace nibble::scalar {
namespace {

template <typename Element>
void multiply(const GemmTask<Element>& task) {
  for (std::int64_t r = 0; r < task.rows; ++r) {
    Element* out = task.out + r * task.out_stride;
    for (std::int64_t k = 0; k < task.depth; ++k) {
      const Element factor = task.a[r * task.a_stride + k];
      const Element* b = task.b + k * task.b_stride;
      for (std::int64_t c = 0; c < task.cols; ++c) out[c] += factor * b[c];
    }
  }
}

}  // namespace

void gemm_f32(const GemmTask<float>& task) {
  multiply(task);
}
void gemm_f64(const GemmTask<double>& task) {
  multiply(task);
}

}  // namespace nibble::scalar
