// What a checkpoint that Nibble quantizes or makes consists of.
#pragma once

#include <string>
#include <vector>

#include "nibble/core/json.h"
#include "nibble/models/checkpoint_writer.h"
#include "nibble/models/parameters.h"
#include "nibble/quant/plan.h"

namespace nibble {

/// The parameters that are not packed, kept as numbers of the plan's dtype: tables, layers left
/// dense and biases, norms, in this order.
std::vector<Parameter> dense_parameters(const ModelSpec& spec, const QuantizePlan& plan);

/// The whole folder: the source's config with what `plan` makes of the weights and, where it packs
/// any, a "quantization_config" that names `algorithm`; as tensors first the packed layers in the
/// order of the forward pass, the embedding if it is packed, each as integers, scales and zero
/// points, then the dense ones.
FolderContents packed_contents(const Json& source_config, const ModelSpec& spec,
                               const QuantizePlan& plan, const std::string& algorithm);

}  // namespace nibble
