// What the configs of Llama and of its relatives have in common: sizes, RoPE, RMSNorm, a gated MLP
// with SiLU, and the names of the modules.
#pragma once

#include "nibble/core/json.h"
#include "nibble/models/model_spec.h"

namespace nibble {

/// Reads a config as Llama's. Throws Error naming the key that is missing or wrong.
ModelSpec read_llama_family(const JsonObject& config);

}  // namespace nibble
