// What all calibration blocks have at one place of a model: hidden states between two decoder
// blocks, inputs of a layer.
#pragma once

#include <cstdint>

#include "nibble/core/buffer.h"
#include "nibble/ops/compute.h"

namespace nibble {

class Activations {
 public:
  /// `samples` blocks of (tokens, width) at most: in bfloat16, or in float32 if `is_exact`.
  Activations(std::int64_t samples, std::int64_t tokens, std::int64_t width, bool is_exact);

  std::int64_t samples() const { return samples_; }
  std::int64_t tokens() const { return tokens_; }
  std::int64_t width() const { return width_; }
  /// Makes room for blocks of another width, no more than at first; what there is is lost.
  void set_width(std::int64_t width) { width_ = width; }

  /// One block from or to float32, (tokens, width).
  void load(Compute& compute, std::int64_t sample, float* out) const;
  void store(Compute& compute, std::int64_t sample, const float* values);

 private:
  std::byte* at(std::int64_t sample) const;

  std::int64_t samples_;
  std::int64_t tokens_;
  std::int64_t width_;
  bool is_exact_;
  Buffer memory_;
};

}  // namespace nibble
