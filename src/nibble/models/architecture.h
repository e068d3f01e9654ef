// The registry of architectures. A new one is a file that defines an Architecture, a line in
// architecture.cpp and a row in its test.
#pragma once

#include <span>
#include <string_view>

#include "nibble/core/json.h"
#include "nibble/models/model_spec.h"

namespace nibble {

struct Architecture {
  std::string_view name;        // in config.json's "architectures": "LlamaForCausalLM"
  std::string_view model_type;  // in config.json's "model_type": "llama"
  std::string_view gguf;        // in GGUF's "general.architecture": "llama"; "" for none of its own
  bool gguf_permutes_qk;  // GGUF files hold the rows of q and k for RoPE on neighbours, not halves
  /// Reads a Hugging Face config. Throws Error naming the key that is missing or wrong.
  ModelSpec (*make_spec)(const JsonObject& config);
};

std::span<const Architecture* const> architectures();

/// The architecture of a Hugging Face config. As in transformers "model_type" wins over
/// "architectures", with a remark; a name there that is not known is refused all the same, but that
/// of a model without its head ("LlamaModel"). Throws Error listing those known.
const Architecture& find_architecture(const JsonObject& config);

/// The model that a Hugging Face config describes, by its architecture.
ModelSpec spec_of_config(const JsonObject& config);

/// The architecture that a GGUF file names `name`; of several (Mistral's files say "llama") the one
/// listed first. `origin` opens the error that lists those known.
const Architecture& find_gguf_architecture(std::string_view name, std::string_view origin);

// Readers for what configs of several architectures have in common.

/// RoPE from "rope_theta" and "rope_scaling", or from the newer "rope_parameters".
RopeSpec read_rope(const JsonObject& config);
/// "bos_token_id", if there is one; `fallback` where the config does not have the key.
std::optional<std::int32_t> read_bos(const JsonObject& config,
                                     std::optional<std::int32_t> fallback = std::nullopt);
/// "eos_token_id": none, one or a list; likewise.
std::vector<std::int32_t> read_eos(const JsonObject& config,
                                   std::optional<std::int32_t> fallback = std::nullopt);

}  // namespace nibble
