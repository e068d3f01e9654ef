// A norm whose gains are learned: weight = first weight (1 + n), n a number for each feature.
#pragma once

#include <cstdint>
#include <vector>

#include "nibble/layers/norm.h"
#include "nibble/ops/compute.h"
#include "nibble/quant/learning/learned_numbers.h"

namespace nibble {

class LearnedNorm {
 public:
  /// `norm` must outlive this. offset: what its weight has more than the checkpoint's.
  LearnedNorm(Norm& norm, float offset);

  const Norm& norm() const { return norm_; }
  LearnedNumbers& numbers() { return numbers_; }
  /// Makes the norm's weight what n says, rounded as a checkpoint holds it.
  void update();
  /// The weight as the checkpoint is to hold it.
  std::vector<float> stored() const;

  /// For y = norm(x) of `rows` rows: dx = or += the gradient of x, and adds to that of n. dx may be
  /// dy if it is not added to.
  void backward(Compute& compute, const float* x, const float* dy, std::int64_t rows, float* dx,
                bool adds);

 private:
  Norm& norm_;
  float offset_;
  std::vector<float> first_;
  LearnedNumbers numbers_;
};

}  // namespace nibble
