// Quantizes the layers of a model by calibration, one decoder block in memory at a time: the block
// is transformed, then its layers are rounded in the order of the forward pass, those that share an
// input together, each for the inputs that the layers rounded before really give.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "nibble/models/weight_loader.h"
#include "nibble/quant/calibration/statistics.h"
#include "nibble/quant/calibration/stream.h"
#include "nibble/quant/calibration/transform.h"
#include "nibble/quant/rounders/rounder.h"
#include "nibble/quant/tensor_writer.h"

namespace nibble {

/// How the weights of a block become integers, beyond the plan that says which do.
struct BlockMethod {
  std::vector<std::shared_ptr<const Transform>> transforms;  // one after the other
  std::shared_ptr<const Rounder> rounder;
  /// What layers' inputs are rounded to while calibration runs.
  ActivationType activations = ActivationType::kBF16;

  /// Whether a transform does.
  bool transforms_look_at_inputs() const;
  bool looks_at_inputs() const { return runs_quantized() || runs_original(); }
  /// Whether samples run through the quantized model, and through the one that is not.
  bool runs_quantized() const { return rounder->needs() != InputNeeds::kNothing; }
  bool runs_original() const {
    return rounder->needs() == InputNeeds::kCross || transforms_look_at_inputs();
  }
  bool goes_by_blocks() const { return looks_at_inputs() || !transforms.empty(); }
};

class BlockQuantizer {
 public:
  /// All must outlive this.
  BlockQuantizer(const Checkpoint& checkpoint, const QuantizePlan& plan, const BlockMethod& method,
                 Compute& compute, TensorWriter& writer);

  /// Writes all packed layers, and the norms and biases that transforms change; each block is
  /// recorded. Blocks that the writer has from before it resumed are run only. ids: the calibration
  /// blocks, all of a length; none if nothing looks at inputs. Activations lie in `space`.
  void run(const std::vector<std::vector<std::int32_t>>& ids, ActivationSpace& space);

 private:
  struct Block;
  enum class InputGroup;

  void begin(const std::vector<std::vector<std::int32_t>>& ids, ActivationSpace& space);
  const LayerPlan& next_layer() { return plan_.layers[next_layer_++]; }
  bool moves_on_by_transform() const;
  bool is_written(std::span<const LayerPlan> layers) const;
  void transform(Block& block);
  void write_block(std::int64_t number);
  void write_group(Block& block, InputGroup group);
  void write_head(const LayerPlan& layer);
  void write_unseen(const LayerPlan& layer);
  void run_samples(const Block& block, InputGroup group, StatisticsSum& sum);
  const float* move_original(const Block& block, InputGroup group, std::int64_t sample);
  const float* move_quantized(const Block& block, InputGroup group, std::int64_t sample);
  const float* kept(std::int64_t sample);
  void leave(const Block& block);

  const QuantizePlan& plan_;
  const BlockMethod& method_;
  Compute& compute_;
  TensorWriter& writer_;
  WeightLoader loader_;
  std::size_t next_layer_ = 0;
  std::int64_t samples_ = 0;
  std::optional<CalibrationStream> original_;   // in the model that is not quantized, if needed
  std::optional<CalibrationStream> quantized_;  // likewise
  /// Of the quantized model, what o, then what down gets, while the layer itself is not rounded.
  std::optional<Activations> between_;
  Buffer kept_;  // a sample of it, in float32
};

}  // namespace nibble
