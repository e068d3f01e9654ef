// The table of kernels for one instruction set: coarse functions on raw pointers and sizes that
// neither allocate nor throw nor start threads. One table is picked at start (select_kernels); the
// scalar one is the oracle that the others are tested against.
//
// Plain data only: the files of each instruction set include this, and nothing inline may be
// emitted there.
#pragma once

#include <cstddef>
#include <cstdint>

#include "nibble/core/bfloat16.h"
#include "nibble/weights/weight_view.h"

namespace nibble {

/// out[t, row] = sum over c of x[t, c] * w[row, c], for some rows of the matrix and all tokens.
struct MatmulTask {
  WeightView weight;  // (rows, cols)
  const void* x;      // (tokens, cols) float32 or bfloat16, x_stride elements from row to row
  std::int64_t x_stride;
  const float* x_sums;  // (tokens, cols / group_size): sum of x over each group; packed formats
  std::int64_t tokens;
  std::int64_t row_begin;  // a multiple of kRowBlock
  std::int64_t row_end;    // a multiple of kRowBlock, or the number of rows
  float* out;              // element (t, row) at out[t * out_stride + row]; overwritten
  std::int64_t out_stride;
  std::byte* scratch;  // matmul_scratch_bytes(cols), 64-byte aligned, this thread's own
};

/// One tile of queries (`tokens` consecutive tokens x the `heads` query heads that share one KV
/// head) against one chunk of that KV head's cache, by online softmax (Milakov & Gimelshein 2018,
/// alg. 3): the running maximum, sum and weighted values of every query row are updated in place.
struct AttentionTask {
  const float* q;  // element (t, h, d) at q[t * q_stride + h * head_dim + d]
  std::int64_t q_stride;
  std::int64_t tokens;
  std::int64_t heads;
  std::int64_t head_dim;
  const void* keys;        // (positions, head_dim) float32 or bfloat16
  const void* values;      // "
  std::int64_t positions;  // in this chunk
  std::int64_t
      visible;         // token t sees the first min(positions, visible + t) positions; may be <= 0
  float scale;         // scores are scale * q.k
  float* max;          // (tokens * heads), row t * heads + h; -inf at the start
  float* sum;          // (tokens * heads); 0 at the start
  float* acc;          // (tokens * heads, head_dim); 0 at the start; output = acc / sum
  std::byte* scratch;  // attention_scratch_bytes(head_dim), 64-byte aligned
};

/// The largest tile and chunk that an AttentionTask may have.
inline constexpr std::int64_t kAttentionMaxRows = 64;  // tokens * heads
inline constexpr std::int64_t kAttentionMaxPositions = 256;

/// A loop that does nothing but one instruction, for measuring the machine's peak.
struct PeakKernel {
  const char* name;  // "bf16 dot (VDPBF16PS)"
  double (*run)(
      std::int64_t iterations);  // runs and returns the operations done (2 a multiply-add)
};

struct KernelSet {
  const char* name;  // "scalar", "avx2", "avx512"

  // Matrix products by weight format, for float32 and for bfloat16 activations; null where the set
  // has none for bfloat16 (F32 and F16 weights: the activations are widened then). Few tokens: the
  // weights are unpacked in registers; many: once into a panel in scratch.
  void (*matmul_f32[kWeightFormats])(const MatmulTask&);
  void (*matmul_bf16[kWeightFormats])(const MatmulTask&);
  std::size_t (*matmul_scratch_bytes)(std::int64_t cols);
  std::int64_t panel_rows;  // how many rows to give one task when there are many tokens

  void (*attention_f32)(const AttentionTask&);   // float32 keys and values
  void (*attention_bf16)(const AttentionTask&);  // bfloat16 keys and values
  std::size_t (*attention_scratch_bytes)(std::int64_t head_dim);

  /// out = x / sqrt(mean(x^2) + eps) * weight, over n elements. out may be x.
  void (*rms_norm)(const float* x, const float* weight, std::int64_t n, float eps, float* out);
  /// Rotates `heads` vectors of head_dim in place, halves paired (GPT-NeoX, as Hugging Face's
  /// Llama): (x[i], x[i + half]) by angle i. cos, sin: (head_dim / 2).
  void (*rope)(float* x, const float* cos, const float* sin, std::int64_t heads,
               std::int64_t head_dim);
  /// out = gate * sigmoid(gate) * up. out may be gate or up.
  void (*silu_mul)(const float* gate, const float* up, std::int64_t n, float* out);
  /// x += y.
  void (*add)(float* x, const float* y, std::int64_t n);
  /// Rounds half to even.
  void (*to_bf16)(const float* x, std::int64_t n, BFloat16* out);
  /// out[g] = sum of x[g * group_size ...]; n is a multiple of group_size.
  void (*group_sums_f32)(const float* x, std::int64_t n, std::int64_t group_size, float* out);
  void (*group_sums_bf16)(const BFloat16* x, std::int64_t n, std::int64_t group_size, float* out);
  /// log(sum(exp(x))), by way of the maximum.
  float (*log_sum_exp)(const float* x, std::int64_t n);
  /// out = softmax(x); returns log(sum(exp(x))). out may be x.
  float (*softmax)(const float* x, std::int64_t n, float* out);

  /// Reads memory as fast as it comes and returns a checksum, so that nothing is optimized away.
  std::uint64_t (*read_memory)(const void* data, std::size_t bytes);
  const PeakKernel* peaks;  // the instructions whose peak bounds this set's matrix products
  int peak_count;
};

extern const KernelSet kScalarKernels;
extern const KernelSet kAvx2Kernels;
extern const KernelSet kAvx512Kernels;

}  // namespace nibble
