// The input of products in the forms that their kernels want: normalized, and rounded once for all
// layers that want the same.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "nibble/ops/linear_device.h"

namespace nibble {

/// What the kernel for weights of this format multiplies where the layer's input is rounded so:
/// where there is no product of integers bfloat16 is taken, where there is none of bfloat16 float32
/// (of the rounded input).
ProductType product_type(const KernelSet& kernels, ActivationType activations, WeightFormat format);

/// `input` for the products of `calls`; in buffers of `compute`, so there is but one at a time.
class PreparedInput {
 public:
  PreparedInput(Compute& compute, const MatmulInput& input, std::span<const MatmulCall> calls);

  std::int64_t tokens() const { return tokens_; }
  /// What call number `call` multiplies.
  ProductType type_of(std::size_t call) const { return operands_[call].type; }
  /// Fills in the input's part of a task for that call.
  void describe(std::size_t call, MatmulTask& task) const;

 private:
  /// Sums of floats over groups.
  struct GroupSums {
    std::int64_t group_size;
    bool of_bf16;   // of the rounded input
    float* values;  // (tokens, cols / group size)
  };
  /// The input as int8.
  struct Codes {
    WeightFormat format;  // gives their order
    std::int64_t group_size;
    bool is_tensor;       // one scale for all rows
    std::int8_t* values;  // (tokens, code_stride)
    float* scales;        // (tokens, cols / group size)
    std::int32_t* sums;   // (tokens, cols / group size)
  };
  /// What one call takes.
  struct Operand {
    ProductType type;
    const void* x;
    std::int64_t stride;
    std::size_t index;  // of codes_ or sums_; none for weights without groups
  };

  bool shares_a_scale(std::span<const MatmulCall> calls) const;
  Operand operand_of(const MatmulCall& call);
  void want_bf16();
  const float* want_widened();
  std::size_t sums_for(std::int64_t group_size, bool of_bf16);
  std::size_t codes_for(const MatmulCall& call);
  const float* row(std::int64_t t) const { return x_ + t * cols_; }
  void prepare_row(std::int64_t t);
  void sum_groups(std::int64_t t, const GroupSums& sums) const;
  void quantize_row(std::int64_t t, const Codes& codes) const;
  // Rows are an odd number of cache lines apart: at a power of two those of a tile of tokens would
  // all fall into a few sets of the first-level cache.
  std::int64_t code_stride() const { return ((cols_ + 63) / 64 | 1) * 64; }
  std::int64_t bf16_stride() const { return ((cols_ + 31) / 32 | 1) * 32; }

  Compute& compute_;
  const float* x_;  // (tokens, cols): the input, normalized
  std::int64_t tokens_;
  std::int64_t cols_;
  BFloat16* bf16_ = nullptr;  // (tokens, bf16_stride); null if not wanted
  float* widened_ = nullptr;  // (tokens, cols): bf16_ as float32; likewise
  float tensor_scale_ = 0;    // of ActivationType::kInt8Tensor
  // One of each for a call at the most:
  std::array<GroupSums, kMaxMatmulCalls> sums_;
  std::array<Codes, kMaxMatmulCalls> codes_;
  std::array<Operand, kMaxMatmulCalls> operands_;
  std::size_t sums_count_ = 0;
  std::size_t codes_count_ = 0;
};

}  // namespace nibble
