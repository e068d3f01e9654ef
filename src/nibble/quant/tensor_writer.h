// Writes the tensors of a quantized checkpoint: layers that a rounder packs, and all that stays
// dense. What a run that this resumes has written already stays and is counted.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "nibble/core/progress.h"
#include "nibble/models/checkpoint.h"
#include "nibble/models/checkpoint_writer.h"
#include "nibble/models/parameters.h"
#include "nibble/ops/compute.h"
#include "nibble/quant/plan.h"
#include "nibble/quant/rounders/round_matrix.h"
#include "nibble/weights/weight.h"

namespace nibble {

/// Parameters that are to be written in place of the checkpoint's, by name: norms and biases that a
/// transform changed.
using RewrittenParameters = std::map<std::string, std::vector<float>>;

class TensorWriter {
 public:
  /// All must outlive this.
  TensorWriter(const Checkpoint& checkpoint, const QuantizePlan& plan, Compute& compute,
               CheckpointWriter& writer);

  /// Rounds a packed layer's weights, some rows at a time, and writes them. read: its rows. packed,
  /// if not null: the weight as it was written. Throws Error for weights that are not finite.
  void write_packed(const LayerPlan& layer, const RowRounder& rounder, RowReader read,
                    Weight* packed = nullptr);
  /// The same of the weights as the checkpoint has them.
  void write_packed(const LayerPlan& layer, const RowRounder& rounder);
  /// All dense tensors that are not there yet, rounded to the plan's dtype.
  void write_dense(const RewrittenParameters& rewritten);

  /// Records what is complete, for whoever resumes this.
  void record();

  // Of what was written, by this or before it resumed:
  const std::vector<WrittenTensor>& packed() const { return packed_; }
  std::int64_t bytes_in() const { return bytes_in_; }  // of the source's tensors read
  std::int64_t bytes_out() const {
    return static_cast<std::int64_t>(writer_.tensors().file_bytes());
  }

 private:
  struct Batch {
    std::int64_t first;  // row
    std::int64_t rows;
  };
  bool is_written(const LayerPlan& layer) const;
  void record_if_due();
  void read_rounded(const CheckpointTensor& tensor, const Batch& rows, std::span<float> out) const;
  void done_with(const CheckpointTensor& tensor, const Batch& batch);
  void skip(const CheckpointTensor& tensor);
  void write_dense(const Parameter& parameter);
  void write_rewritten(const Parameter& parameter, std::span<const float> values);

  const Checkpoint& checkpoint_;
  const QuantizePlan& plan_;
  Compute& compute_;
  CheckpointWriter& writer_;
  std::vector<Parameter> dense_;
  std::vector<WrittenTensor> packed_;
  std::size_t n_recorded_ = 0;  // of packed_
  std::int64_t bytes_in_ = 0;
  Progress progress_;
};

}  // namespace nibble
