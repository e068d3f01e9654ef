// What config.json says of a Nibble checkpoint's packed layers, read and written (docs/formats.md).
#pragma once

#include <map>
#include <string>

#include "nibble/core/json.h"
#include "nibble/models/model_spec.h"
#include "nibble/ops/activation_type.h"
#include "nibble/weights/weight_codec.h"

namespace nibble {

/// Packed layers, and the embedding if it is packed, by module name.
using PackedLayouts = std::map<std::string, WeightLayout>;

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

}  // namespace nibble
