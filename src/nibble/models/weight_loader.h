// From a checkpoint's tensors to weights that kernels read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
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
  /// `dtype` of dense weights: kBF16, kF16 or kF32. `activations`: what is asked for of inputs of
  /// linear layers (Checkpoint::activations). Checkpoint and compute must outlive this and what it
  /// loads.
  WeightLoader(const Checkpoint& checkpoint, Compute& compute, DType dtype,
               std::optional<ActivationType> activations = {});

  const Checkpoint& checkpoint() const { return checkpoint_; }
  const ModelSpec& spec() const { return checkpoint_.spec(); }
  DType dtype() const { return dtype_; }

  /// A linear layer: packed or dense as the checkpoint has it, in place where it can be.
  Linear linear(const LinearSpec& spec) const;
  /// A norm's weight or a bias, (size), rounded to the dtype.
  std::vector<float> vector(const std::string& name, std::int64_t size) const;
  /// A norm, with whatever the model adds to its weight.
  Norm norm(const std::string& name, std::int64_t size) const;
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
  std::optional<ActivationType> activations_;
};

}  // namespace nibble
