// What a checkpoint that Nibble writes consists of: which tensors, and the files beside them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "nibble/core/json.h"
#include "nibble/formats/safetensors_writer.h"
#include "nibble/models/parameters.h"
#include "nibble/quant/plan.h"

namespace nibble {

/// The parameters outside packed layers, kept as numbers of the plan's dtype: tables, layers left
/// dense and biases, norms, in this order.
std::vector<Parameter> dense_parameters(const ModelSpec& spec, const QuantizePlan& plan);

/// What the file of tensors says of itself.
inline const std::map<std::string, std::string> kCheckpointMetadata = {{"format", "pt"},
                                                                       {"writer", "nibble"}};

/// All tensors of the checkpoint in the order of the file: first the packed layers in the order of
/// the forward pass, each as integers, scales and zero points; then the dense ones.
std::vector<TensorDeclaration> declarations(const ModelSpec& spec, const QuantizePlan& plan);

/// Writes config.json into `folder`: the source's, with what `plan` makes of the weights and, where
/// it packs any, a "quantization_config" that names `algorithm`.
void write_config(const Json& source_config, const QuantizePlan& plan, const std::string& algorithm,
                  const std::filesystem::path& folder);

}  // namespace nibble
