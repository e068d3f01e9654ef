// A linear layer of whose packed weight the scales are learned: w' = (q - zero) * bf16(s (1 + r)),
// r a number for each group of a row, 0 at first. What bfloat16 rounds away is passed over in the
// gradient (straight through).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "nibble/layers/linear.h"
#include "nibble/ops/compute.h"
#include "nibble/quant/learning/learned_numbers.h"
#include "nibble/quant/rounders/hessian.h"
#include "nibble/weights/weight_codec.h"

namespace nibble {

class LearnedLinear {
 public:
  /// `layer` gets scales in memory of this, if it is packed in groups; else nothing of it is
  /// learned, and only gradients pass through. It must outlive this and not move.
  explicit LearnedLinear(Linear& layer);

  /// Its scales stay as they are: gradients pass through and nothing is learned.
  void freeze();

  const Linear& layer() const { return layer_; }
  /// r, (row blocks, groups, 16); empty if nothing is learned.
  LearnedNumbers& numbers() { return numbers_; }
  /// Makes the layer's scales what r says.
  void update();
  /// As numbers(); empty if nothing is learned.
  std::span<const BFloat16> scales() const { return std::span(scales_).first(first_.size()); }

  /// For y = x w'^T of `tokens` rows: adds dy w' to dx, and what the scales are to blame for to
  /// their gradient. x: (tokens, in) in float32, rounded as the layer took it; dy: (tokens, out).
  void backward(Compute& compute, const float* x, const float* dy, std::int64_t tokens, float* dx);

 private:
  void add_input_gradient(Compute& compute, const float* dy, std::int64_t tokens, float* dx);
  void add_scale_gradient(Compute& compute, const float* x, const float* dy, std::int64_t tokens);
  void add_row_gradient(const IntegerBlock& integers, std::int64_t r, const float* product,
                        std::int64_t block);

  Linear& layer_;
  std::vector<float> first_;  // s, as r's
  std::vector<BFloat16> scales_;
  LearnedNumbers numbers_;
  Matrix<float> weights_;  // some rows of w'
  TurnedRows turned_x_;
  TurnedRows turned_dy_;
};

}  // namespace nibble
