#include "nibble/kernels/avx512/avx512.h"
#include "nibble/kernels/avx512/simd.h"
// The set's vectors first.
#include "nibble/kernels/avx512/attention_pairs.h"
#include "nibble/kernels/vector/attention.h"

namespace nibble::avx512 {

void attention_f32(const AttentionTask& task) {
  attend<float>(task);
}
void attention_bf16(const AttentionTask& task) {
  attend_pairs<BFloat16>(task);
}
void attention_int8(const AttentionTask& task) {
  attend_pairs<std::int8_t>(task);
}
std::size_t attention_scratch_bytes(std::int64_t head_dim) {
  const std::size_t f32 = attention_scratch_size(head_dim);
  const std::size_t pairs = pair_scratch_size(head_dim);
  return f32 > pairs ? f32 : pairs;
}

}  // namespace nibble::avx512
