// From a checkpoint's tensors to weights that kernels read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "nibble/core/dtype.h"
#include "nibble/layers/linear.h"
#include "nibble/models/checkpoint.h"

namespace nibble {

class WeightLoader {
 public:
  /// `dtype` of dense weights: kBF16, kF16 or kF32. All three must outlive this and what it loads.
  WeightLoader(const Checkpoint& checkpoint, Compute& compute, DType dtype)
      : checkpoint_(checkpoint), compute_(compute), dtype_(dtype) {}

  /// A linear layer: packed or dense as the checkpoint has it, in place where it can be.
  Linear linear(const LinearSpec& spec) const;
  /// Moves layers with the same input to the memory nodes whose threads read them
  /// (ops/place_weights.h), and gives back what that leaves unused of the mapped files.
  void place(std::span<Linear* const> together) const;
  /// A norm's weight or a bias, (size), rounded to the dtype.
  std::vector<float> vector(const std::string& name, std::int64_t size) const;

 private:
  Weight dense(const CheckpointTensor& tensor) const;

  const Checkpoint& checkpoint_;
  Compute& compute_;
  DType dtype_;
};

/// Rounds `values` to what `dtype` can hold (kF32: leaves them).
void round_to_dtype(DType dtype, std::span<float> values);

/// Writes float32 values as numbers of `dtype` (kF32, kF16 or kBF16).
void store_as_dtype(DType dtype, std::span<const float> values, std::byte* out);

}  // namespace nibble
