// Writes the tensors of a quantized checkpoint in the order of the plan: layers that are packed, in
// the order of the forward pass, then all that stays dense.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "nibble/core/progress.h"
#include "nibble/formats/safetensors_writer.h"
#include "nibble/models/checkpoint.h"
#include "nibble/models/parameters.h"
#include "nibble/ops/compute.h"
#include "nibble/quant/plan.h"
#include "nibble/quant/rounders/round_matrix.h"
#include "nibble/weights/weight.h"

namespace nibble {

struct QuantizedTensor {
  std::string name;                 // "model.layers.0.mlp.up_proj.weight"
  std::vector<std::int64_t> shape;  // (out, in)
  int bits = 0;
  int group_size = 0;
  RoundingError error;
};

/// Parameters that are to be written in place of the checkpoint's, by name: norms and biases that a
/// transform changed.
using RewrittenParameters = std::map<std::string, std::vector<float>>;

class TensorWriter {
 public:
  /// All must outlive this.
  TensorWriter(const Checkpoint& checkpoint, const QuantizePlan& plan, Compute& compute,
               const std::filesystem::path& path, Progress& progress);

  /// Rounds a packed layer's weights, some rows at a time, and writes them. read: its rows. packed,
  /// if not null: the weight as it was written. Throws Error for weights that are not finite.
  QuantizedTensor write_packed(const LayerPlan& layer, const RowRounder& rounder, RowReader read,
                               Weight* packed = nullptr);
  /// The same of the weights as the checkpoint has them.
  QuantizedTensor write_packed(const LayerPlan& layer, const RowRounder& rounder);
  /// All dense tensors, rounded to the plan's dtype.
  void write_dense(const RewrittenParameters& rewritten);
  void commit() { writer_.commit(); }

  std::int64_t bytes_in() const { return bytes_in_; }  // of the source's tensors read
  std::int64_t bytes_out() const { return static_cast<std::int64_t>(writer_.file_bytes()); }

 private:
  struct Batch {
    std::int64_t first;  // row
    std::int64_t rows;
  };
  void read_rounded(const CheckpointTensor& tensor, const Batch& rows, std::span<float> out) const;
  void done_with(const CheckpointTensor& tensor, const Batch& batch);
  void write_dense_tensor(const Parameter& dense);

  const Checkpoint& checkpoint_;
  const QuantizePlan& plan_;
  Compute& compute_;
  Progress& progress_;
  std::int64_t bytes_in_ = 0;
  SafetensorsWriter writer_;
};

}  // namespace nibble
