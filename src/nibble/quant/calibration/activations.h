// The hidden states of all calibration blocks between two decoder blocks.
#pragma once

#include <cstdint>

#include "nibble/core/buffer.h"
#include "nibble/ops/compute.h"

namespace nibble {

class Activations {
 public:
  /// `samples` blocks of (tokens, width): in bfloat16, or in float32 if `is_exact`.
  Activations(std::int64_t samples, std::int64_t tokens, std::int64_t width, bool is_exact);

  std::int64_t samples() const { return samples_; }
  std::int64_t tokens() const { return tokens_; }
  std::int64_t width() const { return width_; }

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
