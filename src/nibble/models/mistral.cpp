// MistralForCausalLM: Llama with a window in every layer, or none. Hugging Face:
// transformers/models/mistral/modeling_mistral.py.
#include <nlohmann/json.hpp>

#include "nibble/models/architecture.h"
#include "nibble/models/config_values.h"
#include "nibble/models/llama_family.h"

namespace nibble {
namespace {

ModelSpec make_spec(const JsonObject& config) {
  ModelSpec spec =
      read_llama_family(config, {.intermediate = 14336, .n_kv_heads = 8, .context = 131072});
  // Unlike elsewhere a null is not as if absent: it says that there is no window.
  const bool is_null = config.json().contains("sliding_window") && !config.has("sliding_window");
  if (!is_null) {
    const std::int64_t window = config.get_int("sliding_window", 1, kMaxContext, 4096);
    spec.windows.assign(static_cast<std::size_t>(spec.n_layers), window);
  }
  return spec;
}

}  // namespace

extern const Architecture kMistral;
const Architecture kMistral = {.name = "MistralForCausalLM",
                               .model_type = "mistral",
                               .gguf = "llama",
                               .gguf_permutes_qk = true,
                               .make_spec = make_spec};

}  // namespace nibble
