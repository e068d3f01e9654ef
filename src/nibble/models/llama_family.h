// What the configs of Llama and of its relatives have in common: sizes, RoPE, RMSNorm, a gated MLP,
// and the names of the modules.
#pragma once

#include <optional>
#include <string_view>

#include "nibble/core/json.h"
#include "nibble/models/model_spec.h"

namespace nibble {

/// What a config means that does not say it.
struct LlamaFamilyDefaults {
  std::int64_t vocab = 32000;
  std::int64_t hidden = 4096;
  std::int64_t intermediate = 11008;
  std::int64_t n_layers = 32;
  std::int64_t n_heads = 32;
  std::optional<std::int64_t> n_kv_heads;  // none: as many as heads, which null means in any case
  std::int64_t context = 2048;
  std::optional<std::int64_t> head_dim;  // none: the hidden size over the heads
  std::string_view activation = "silu";
  bool tied_head = false;
  std::optional<std::int32_t> bos = 1;
  std::optional<std::int32_t> eos = 2;
};

/// Reads a config as Llama's. Throws Error naming the key that is missing or wrong.
ModelSpec read_llama_family(const JsonObject& config, const LlamaFamilyDefaults& defaults);

}  // namespace nibble
