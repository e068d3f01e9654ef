// What quantizing a model will do to each of its linear layers and its embedding, decided before
// any work is done.
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

/// Where rows of the embedding are looked up.
enum class EmbeddingStorage : std::uint8_t {
  kDense,
  kInt8,  // a scale for each row
  kHead,  // in the packed head, of a tied model
};

struct QuantizeOptions {
  int bits = 4;                // 4 or 3 in groups; 8 with a scale for each output channel
  int group_size = 128;        // asked for: 32, 64 or 128; means nothing to 8 bits
  bool shares_scale = false;   // of 8 bits: one scale for all rows of a matrix
  DType dtype = DType::kBF16;  // weights are rounded to this first, and kept in it if not packed
  bool quantize_head = true;   // lm_head too; a tied one gets a packed copy
  bool quantize_projections = true;  // those before and behind the decoder blocks too
  int outer_group_size = 0;          // asked for outside the blocks; 0: as in them
  EmbeddingStorage embedding = EmbeddingStorage::kDense;
  // What the checkpoint says that inputs of packed layers are rounded to, but for the head's.
  std::optional<ActivationType> activations = {};
  std::vector<std::string> exclude;  // layers to keep dense: names, "*" standing for any characters
};

/// One linear layer, or the embedding's matrix.
struct LayerPlan {
  LinearSpec linear;
  std::string module;  // that its tensors are named after; its own, but for an embedding's head
  bool is_head = false;
  bool packed = false;
  bool shares_scale = false;  // as QuantizeOptions'; never an embedding, whose rows are apart
  WeightLayout layout{};      // of a packed layer
};

struct QuantizePlan {
  QuantizeOptions options;
  std::vector<LayerPlan> layers;
  std::optional<LayerPlan> embedding;  // where it is packed by itself
  std::vector<std::string> notes;      // what is done otherwise than asked: a smaller group size

  /// The plan for the linear layer `name`, one of the model's.
  const LayerPlan& layer(const std::string& name) const;
  /// The layers that are packed, in the order of the forward pass, then the embedding.
  std::vector<const LayerPlan*> packed() const;
  PackedLayouts packed_layouts() const;
  LayerActivations layer_activations() const;
};

/// The largest group size of a format that is not above `wanted` and divides `in_features`; 0 if
/// none does.
int usable_group_size(const WeightCodec& codec, int wanted, std::int64_t in_features);

/// The layouts that a packed layer of `plan` could have, the fewest bits first: 3 and 4 bits in
/// groups as asked for, 8 with a scale for each output channel.
std::vector<WeightLayout> possible_layouts(const QuantizePlan& plan, const LayerPlan& layer);

/// Throws Error naming the layer if no group size divides its input features or 8 bits cannot take
/// as many, if an --exclude pattern matches no layer, or if the embedding cannot be stored as
/// asked.
QuantizePlan plan_quantization(const ModelSpec& spec, const QuantizeOptions& options);

}  // namespace nibble
