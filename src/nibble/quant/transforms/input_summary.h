// What AWQ and SmoothQuant want to know of the inputs that some layers share, collected over all
// calibration tokens.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "nibble/ops/compute.h"
#include "nibble/quant/transforms/gram.h"

namespace nibble {

/// The mean and the largest magnitude of each feature.
class InputMagnitudes {
 public:
  explicit InputMagnitudes(std::int64_t features);

  /// More tokens; x: (tokens, features).
  void add(Compute& compute, const float* x, std::int64_t tokens);

  // (features). Throw Error, saying that they are the inputs of `layer`, if any is not finite.
  std::vector<float> means(const std::string& layer) const;
  std::vector<float> maxima(const std::string& layer) const;

 private:
  std::vector<double> sums_;
  std::vector<float> maxima_;
  std::int64_t tokens_ = 0;
};

/// Some of the tokens, evenly spaced from the first on: 512 of them or, where these do not divide
/// all, up to twice as many, as llm-awq's auto_clip.py takes them.
class SampledRows {
 public:
  SampledRows(std::int64_t features, std::int64_t all_tokens);

  /// The next tokens; x: (tokens, features).
  void add(const float* x, std::int64_t tokens);
  /// (sampled, features), each feature divided by `divisors`.
  void divide(const std::vector<float>& divisors);
  const std::vector<float>& rows() const { return rows_; }
  std::int64_t features() const { return features_; }

 private:
  std::int64_t features_;
  std::int64_t step_;
  std::int64_t next_ = 0;  // tokens until the next that is taken
  std::vector<float> rows_;
};

}  // namespace nibble
