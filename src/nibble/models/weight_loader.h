// From a checkpoint's tensors to weights that kernels read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "nibble/core/dtype.h"
#include "nibble/layers/linear.h"
#include "nibble/layers/norm.h"
#include "nibble/models/checkpoint.h"
#include "nibble/weights/repack.h"

namespace nibble {

class WeightLoader {
 public:
  /// `dtype` of dense weights: kBF16, kF16 or kF32. All three must outlive this and what it loads.
  WeightLoader(const Checkpoint& checkpoint, Compute& compute, DType dtype);

  const Checkpoint& checkpoint() const { return checkpoint_; }
  const ModelSpec& spec() const { return checkpoint_.spec(); }
  DType dtype() const { return dtype_; }

  /// A linear layer: packed or dense as the checkpoint has it, in place where it can be.
  Linear linear(const LinearSpec& spec) const;
  /// A norm's weight or a bias, (size), rounded to the dtype.
  std::vector<float> vector(const std::string& name, std::int64_t size) const;
  /// A norm, with whatever the model adds to its weight.
  Norm norm(const NormModule& module) const;
  /// Gives back the memory of the mapped files that the layer's weight lies in, if it does.
  void drop(const Linear& layer) const;

 private:
  Weight dense(const CheckpointTensor& tensor) const;
  void load_foreign(const ForeignLayer& foreign, Linear& layer) const;
  Weight dequantized(const ForeignLayer& foreign) const;
  Weight repacked(const ForeignLayer& foreign, const RepackPlan& plan) const;

  const Checkpoint& checkpoint_;
  Compute& compute_;
  DType dtype_;
};

/// The format of dense weights of `dtype` (kF32, kF16 or kBF16).
WeightFormat dense_format(DType dtype);

/// Rounds `values` to what `dtype` can hold (kF32: leaves them).
void round_to_dtype(DType dtype, std::span<float> values);

/// Writes float32 values as numbers of `dtype` (kF32, kF16 or kBF16).
void store_as_dtype(DType dtype, std::span<const float> values, std::byte* out);

}  // namespace nibble
