#include "nibble/kernels/avx2/avx2.h"
#include "nibble/kernels/avx2/simd.h"
// The set's vectors first.
#include "nibble/kernels/vector/attention.h"

namespace nibble::avx2 {

void attention_f32(const AttentionTask& task) {
  attend<float>(task);
}
void attention_bf16(const AttentionTask& task) {
  attend<BFloat16>(task);
}
void attention_int8(const AttentionTask& task) {
  attend<std::int8_t>(task);
}
std::size_t attention_scratch_bytes(std::int64_t head_dim) {
  return attention_scratch_size(head_dim);
}

}  // namespace nibble::avx2
