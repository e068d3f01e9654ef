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
  const void* x;      // (tokens, cols) float32, bfloat16 or int8, x_stride elements from row to row
  std::int64_t x_stride;
  const float* x_sums;  // (tokens, groups): sum of x over each group; grouped formats
  std::int64_t tokens;
  std::int64_t row_begin;  // a multiple of kRowBlock
  std::int64_t row_end;    // a multiple of kRowBlock, or the number of rows
  float* out;              // element (t, row) at out[t * out_stride + row]; overwritten
  std::int64_t out_stride;
  std::byte* scratch;  // matmul_scratch_bytes(cols), 64-byte aligned, this thread's own
  // Of int8 activations, as quantize_int8 left them; one group where a row has one scale:
  const float* x_scales = nullptr;            // (tokens, groups)
  const std::int32_t* x_code_sums = nullptr;  // (tokens, groups): sum of the codes
};

/// One token's activations as int8 codes for weights of one format, a scale a group: with m the
/// largest |x| of a group, scale = max(m, 1e-5) / 127 (or a given one that is no smaller) and
/// code = round(x / scale), half to even, all in float32. NaN and infinities make their group's
/// scale NaN or infinite.
struct QuantizeTask {
  const float* x;  // (cols)
  std::int64_t cols;
  std::int64_t group_size;  // the weights'; cols where a row has one scale
  WeightFormat format;      // gives the order of the codes within each run of 16 columns
  std::int8_t* codes;       // cols rounded up to kCodeRun; those past cols become 0
  float* scales;            // (groups)
  std::int32_t* sums;       // (groups): sum of the codes
  float scale = 0;          // of all groups; 0: each has its own
};

/// Codes lie as the bytes of four columns come out of the packed weights by shifts and masks alone
/// (weights/packed_group.h, int8_per_channel.h), so that four codes broadcast are the operand of a
/// dot product: position i of each run of 16 columns holds column kCodeOrder...[i] of it, of w3 as
/// of w4. (Not inline: see above.)
constexpr int kCodeRun = 16;
constexpr std::int8_t kCodeOrderW4[] = {0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15};
constexpr std::int8_t kCodeOrderW8[] = {0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15};

/// The largest tile and chunk that an AttentionTask may have.
inline constexpr std::int64_t kAttentionMaxRows = 128;  // tokens * heads
inline constexpr std::int64_t kAttentionMaxPositions = 256;

/// One tile of queries (`tokens` consecutive tokens x the `heads` query heads that share one KV
/// head) against one chunk of that KV head's cache, by online softmax (Milakov & Gimelshein 2018,
/// alg. 3): the running maximum, sum and weighted values of every query row are updated in place.
struct AttentionTask {
  const float* q;  // element (t, h, d) at q[t * q_stride + h * head_dim + d]
  std::int64_t q_stride;
  std::int64_t tokens;
  std::int64_t heads;
  std::int64_t head_dim;
  const void* keys;           // (positions, head_dim) float32, bfloat16 or int8
  const void* values;         // "
  const float* key_scales;    // (positions): what a row of int8 keys is multiplied by; else unused
  const float* value_scales;  // "
  std::int64_t positions;     // in this chunk
  std::int64_t
      visible;         // token t sees the first min(positions, visible + t) positions; may be <= 0
  float scale;         // scores are scale * q.k
  float* max;          // (tokens * heads), row t * heads + h; -inf at the start
  float* sum;          // (tokens * heads); 0 at the start
  float* acc;          // (tokens * heads, head_dim); 0 at the start; output = acc / sum
  std::byte* scratch;  // attention_scratch_bytes(head_dim), 64-byte aligned
  /// Of those, token t does not see the first passed + t: a sliding window has left them behind.
  /// The default hides none from any tile.
  std::int64_t passed = -kAttentionMaxRows;
  /// The keys and values that will be asked for next, to be fetched ahead, or null.
  const void* next_keys = nullptr;
  const void* next_values = nullptr;
};

/// out += a . b, all row-major: row i of each begins at i * its stride. Every element of out gets
/// its products in the order of the depth, however the rows and columns are cut into tasks.
template <typename Element>  // float or double
struct GemmTask {
  const Element* a;  // (rows, depth)
  std::int64_t a_stride;
  const Element* b;  // (depth, cols)
  std::int64_t b_stride;
  Element* out;  // (rows, cols)
  std::int64_t out_stride;
  std::int64_t rows;
  std::int64_t depth;
  std::int64_t cols;
  std::byte* scratch;  // kGemmScratchBytes, 64-byte aligned
};
inline constexpr std::size_t kGemmScratchBytes = 64 << 10;

/// What a feed-forward network does to its inner values.
enum class Activation : std::uint8_t {
  kSilu,      // x sigmoid(x)
  kGelu,      // x Phi(x), Phi the normal distribution (Hendrycks & Gimpel 2016)
  kGeluTanh,  // its approximation x sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3))
  kRelu       // max(x, 0)
};

/// What is multiplied.
enum class ProductType : std::uint8_t { kF32, kBF16, kInt8 };

/// A loop that does nothing but one instruction, for measuring the machine's peak.
struct PeakKernel {
  ProductType type;
  const char* name;  // "bf16 dot (VDPBF16PS)"
  double (*run)(
      std::int64_t iterations);  // runs and returns the operations done (2 a multiply-add)
};

/// The parameters of a layer norm.
struct NormWeights {
  const float* weight;  // (n)
  const float* bias;    // (n)
  float eps;
};

struct KernelSet {
  const char* name;  // "scalar", "avx2", "avx512"

  // Matrix products by weight format, for float32 and for bfloat16 activations; null where the set
  // has none for bfloat16 (F32 and F16 weights: the activations are widened then). Few tokens: the
  // weights are unpacked in registers; many: once into a panel in scratch.
  void (*matmul_f32[kWeightFormats])(const MatmulTask&);
  void (*matmul_bf16[kWeightFormats])(const MatmulTask&);
  // The same with int8 activations, products and sums of a group being integers: out = the sum over
  // groups, first to last, of (scale * x_scale) * (sum(q * code) - zero * sum(code)), each added
  // with one rounding. So every set gives the same bits, for any number of tokens. Null for weights
  // that are not integers.
  void (*matmul_int8[kWeightFormats])(const MatmulTask&);
  void (*quantize_int8)(const QuantizeTask&);
  /// The scale of a group of n activations, as QuantizeTask says.
  float (*int8_scale)(const float* x, std::int64_t n);
  std::size_t (*matmul_scratch_bytes)(std::int64_t cols);
  std::int64_t panel_rows;       // how many rows to give one task when there are many tokens
  std::int64_t int8_panel_rows;  // the same of matmul_int8

  void (*gemm_f32)(const GemmTask<float>&);
  void (*gemm_f64)(const GemmTask<double>&);

  void (*attention_f32)(const AttentionTask&);  // float32 keys and values
  void (*attention_bf16)(const AttentionTask&);
  void (*attention_int8)(const AttentionTask&);
  std::size_t (*attention_scratch_bytes)(std::int64_t head_dim);
  /// attention_bf16 and attention_int8 round queries and weights, exp(score - maximum), to bfloat16
  /// before they are multiplied; otherwise both stay float32. Sums are float32 in any case.
  bool attention_rounds;

  /// out = x / sqrt(mean(x^2) + eps) * weight, over n elements. out may be x.
  void (*rms_norm)(const float* x, const float* weight, std::int64_t n, float eps, float* out);
  /// out = (x - mean(x)) / sqrt(variance(x) + eps) * weight + bias, over n elements (Ba et al.
  /// 2016). out may be x.
  void (*layer_norm)(const float* x, const NormWeights& weights, std::int64_t n, float* out);
  /// Rotates `heads` vectors of head_dim in place, halves paired (GPT-NeoX, as Hugging Face's
  /// Llama): (x[i], x[i + half]) by angle i. cos, sin: (head_dim / 2).
  void (*rope)(float* x, const float* cos, const float* sin, std::int64_t heads,
               std::int64_t head_dim);
  /// out = activation(x). out may be x.
  void (*activate)(Activation activation, const float* x, std::int64_t n, float* out);
  /// out = activation(gate) * up. out may be gate or up.
  void (*activate_mul)(Activation activation, const float* gate, const float* up, std::int64_t n,
                       float* out);
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
