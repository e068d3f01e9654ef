// Sums over calibration tokens of what a rounder wants to know of a layer's inputs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nibble/ops/compute.h"
#include "nibble/quant/rounders/hessian.h"
#include "nibble/quant/rounders/rounder.h"

namespace nibble {

class StatisticsSum {
 public:
  StatisticsSum(InputNeeds needs, std::int64_t cols);

  /// More rows, x: (tokens, cols) in the quantized model; original: the same in the model that is
  /// not, for InputNeeds::kCross, else not looked at.
  void add(Compute& compute, const float* x, const float* original, std::int64_t tokens);

  /// The sums; nothing may be added afterwards. Throws Error, saying that they are the inputs of
  /// `layer`, if any is not finite.
  InputStatistics finish(const std::string& layer);

 private:
  void add_squares(Compute& compute, const float* x, std::int64_t tokens);

  InputNeeds needs_;
  std::vector<double> squares_;
  Matrix<float> products_;
  Matrix<float> cross_;
  TurnedRows turned_;
  TurnedRows turned_original_;
};

}  // namespace nibble
