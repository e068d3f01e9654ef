// What quantizing a model will do to each of its linear layers, decided before any work is done.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "nibble/core/dtype.h"
#include "nibble/models/model_spec.h"
#include "nibble/models/quantization_config.h"
#include "nibble/weights/weight_codec.h"

namespace nibble {

struct QuantizeOptions {
  int bits = 4;                // 4 or 3 in groups; 8 with a scale for each output channel
  int group_size = 128;        // asked for: 32, 64 or 128; means nothing to 8 bits
  bool shares_scale = false;   // of 8 bits: one scale for all rows of a matrix
  DType dtype = DType::kBF16;  // weights are rounded to this first, and kept in it if not packed
  bool quantize_head = true;   // lm_head too; a tied one gets a packed copy
  bool quantize_projections = true;  // those before and behind the decoder blocks too
  int outer_group_size = 0;          // asked for outside the blocks; 0: as in them
  // What the checkpoint says that inputs of packed layers are rounded to, but for the head's.
  std::optional<ActivationType> activations = {};
  std::vector<std::string> exclude;  // layers to keep dense: names, "*" standing for any characters
};

/// One linear layer.
struct LayerPlan {
  LinearSpec linear;
  bool is_head = false;
  bool packed = false;
  WeightLayout layout{};  // of a packed layer
};

struct QuantizePlan {
  QuantizeOptions options;
  std::vector<LayerPlan> layers;
  std::vector<std::string> notes;  // what is done otherwise than asked: a smaller group size

  /// The plan for the linear layer `name`, one of the model's.
  const LayerPlan& layer(const std::string& name) const;
  PackedLayouts packed_layouts() const;
  LayerActivations layer_activations() const;
};

/// The largest group size of a format that is not above `wanted` and divides `in_features`; 0 if
/// none does.
int usable_group_size(const WeightCodec& codec, int wanted, std::int64_t in_features);

/// Throws Error naming the layer if no group size divides its input features or 8 bits cannot take
/// as many, or if an --exclude pattern matches no layer.
QuantizePlan plan_quantization(const ModelSpec& spec, const QuantizeOptions& options);

}  // namespace nibble
