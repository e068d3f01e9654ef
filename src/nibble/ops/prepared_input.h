// The input of matmul() in the forms that its weights want: normalized and rounded once for all of
// them.
#pragma once

#include <cstdint>
#include <span>

#include "nibble/ops/compute.h"
#include "nibble/ops/matmul.h"

namespace nibble {

/// The form in which the input goes into the product with weights of this format: where there is no
/// product of integers bfloat16 is taken, where there is none of bfloat16 float32 (rounded to
/// bfloat16, unless nothing is to be rounded).
ActivationType product_type(const KernelSet& kernels, ActivationType activations,
                            WeightFormat format);

/// `input` for the products of `calls`; in buffers of `compute`, so there is but one at a time.
class PreparedInput {
 public:
  PreparedInput(Compute& compute, const MatmulInput& input, std::span<const MatmulCall> calls);

  std::int64_t tokens() const { return tokens_; }
  /// The form that weights of this format are multiplied with.
  ActivationType type_for(WeightFormat format) const {
    return product_type(compute_.kernels(), activations_, format);
  }

  /// Fills in the input's part of a task for `weight`, one of the calls'.
  void describe(const WeightView& weight, MatmulTask& task) const;

 private:
  /// Codes for one format and group size.
  struct Int8 {
    std::int8_t* codes = nullptr;  // (tokens, code_stride); null if not wanted
    float* scales = nullptr;       // (tokens, groups)
    std::int32_t* sums = nullptr;  // (tokens, groups)
    std::int64_t group_size = 0;
  };

  void add_int8(const WeightView& weight);
  void allocate_floats();
  const float* row(std::int64_t t) const { return x_ + t * cols_; }
  void prepare_row(std::int64_t t);
  void quantize_row(std::int64_t t, WeightFormat format, const Int8& input);
  void sum_groups(std::int64_t t);
  // Rows are an odd number of cache lines apart: at a power of two those of a tile of tokens would
  // all fall into a few sets of the first-level cache.
  std::int64_t code_stride() const { return ((cols_ + 63) / 64 | 1) * 64; }
  std::int64_t bf16_stride() const { return ((cols_ + 31) / 32 | 1) * 32; }

  Compute& compute_;
  ActivationType activations_;
  const float* x_;  // (tokens, cols): the input, normalized
  std::int64_t tokens_;
  std::int64_t cols_;
  bool wants_bf16_ = false;
  bool wants_f32_ = false;
  bool wants_sums_[3] = {};
  BFloat16* bf16_ = nullptr;    // (tokens, bf16_stride)
  float* widened_ = nullptr;    // (tokens, cols): bf16_ as float32
  const float* f32_ = nullptr;  // widened_, or x_
  float* sums_[3] = {};         // (tokens, cols / group size)
  Int8 int8_[kWeightFormats][3];
};

}  // namespace nibble
