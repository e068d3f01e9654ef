// Writes the tensors of a quantized checkpoint: layers that a rounder packs, and all that stays
// dense. What a run that this resumes has written already stays and is counted.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "nibble/core/progress.h"
#include "nibble/models/block.h"
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

/// Rows that are read, rounded and written at a time: enough work for many threads, little memory.
inline constexpr std::int64_t kRowsPerSlice = 1536;

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
  /// Parameters that are dense, in place of the checkpoint's, rounded to the plan's dtype.
  void write_rewritten(const RewrittenParameters& parameters);
  /// All dense tensors that are not there yet, likewise.
  void write_dense();

  /// Records what is complete, for whoever resumes this.
  void record();

  // What is there, of this run or of the one that it resumes:
  bool is_written(const LayerPlan& layer) const;
  Weight written(const LayerPlan& layer) const;
  /// Puts norms and biases that were rewritten in place of a decoder block's.
  void replace_written(std::int64_t number, DecoderBlock& block) const;
  /// Counts a layer that was there before this run.
  void skip(const LayerPlan& layer) { skip(checkpoint_.dense_weight(layer.linear)); }

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
  void record_if_due();
  void replace_written(const std::string& name, std::vector<float>& values, float offset) const;
  void read_rounded(const CheckpointTensor& tensor, const Batch& rows, std::span<float> out) const;
  void done_with(const CheckpointTensor& tensor, const Batch& batch);
  void skip(const CheckpointTensor& tensor);
  void write_dense(const Parameter& parameter);

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
