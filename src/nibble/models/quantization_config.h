// What config.json says of a Nibble checkpoint's packed layers, read and written (docs/formats.md).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "nibble/core/dtype.h"
#include "nibble/core/json.h"
#include "nibble/models/model_spec.h"
#include "nibble/ops/activation_type.h"
#include "nibble/weights/packed_layout.h"

namespace nibble {

/// Packed layers by module name.
using PackedLayouts = std::map<std::string, PackedLayout>;

/// Reads "quantization_config". Throws Error for another tool's quant_method (naming it), an
/// unknown version, a module that the model does not have, bits or a group size that it cannot
/// have.
PackedLayouts read_quantization_config(const JsonObject& config, const ModelSpec& spec);

/// What inputs of layers are rounded to, by module name; of those that are not there nothing is
/// said.
using LayerActivations = std::map<std::string, ActivationType>;

/// Reads it, of packed layers. Throws Error for a type that is not known.
LayerActivations read_layer_activations(const JsonObject& config);

/// The "quantization_config" that says this. `algorithm` is that of the command ("pergrp").
Json make_quantization_config(const PackedLayouts& layouts, const LayerActivations& activations,
                              const std::string& algorithm);

// The tensors of a packed module: their names behind the module's.
inline constexpr const char* kCodesSuffix = ".weight_packed";
inline constexpr const char* kScalesSuffix = ".weight_scale";
inline constexpr const char* kZerosSuffix = ".weight_zero_point";

struct PackedPart {
  const char* suffix;
  DType dtype;
  std::vector<std::int64_t> shape;  // (blocks of 16 rows, ...)

  /// Of one block of 16 rows.
  std::size_t block_bytes() const;
};
/// Integers, scales and, where the format has them, zero points, in this order.
std::vector<PackedPart> packed_parts(const PackedLayout& layout);

}  // namespace nibble
