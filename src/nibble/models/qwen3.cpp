// Qwen3ForCausalLM. Llama with norms on the heads of q and k, a head size of its own, and windows
// in some layers. Hugging Face: transformers/models/qwen3/modeling_qwen3.py.
#include "nibble/models/architecture.h"
#include "nibble/models/config_values.h"
#include "nibble/models/llama_family.h"

namespace nibble {
namespace {

ModelSpec make_spec(const JsonObject& config) {
  ModelSpec spec = read_llama_family(config, {.vocab = 151936,
                                              .intermediate = 22016,
                                              .n_kv_heads = 32,
                                              .context = 32768,
                                              .head_dim = 128,
                                              .bos = std::nullopt,
                                              .eos = std::nullopt});
  spec.q_norm = "model.layers.{}.self_attn.q_norm";
  spec.k_norm = "model.layers.{}.self_attn.k_norm";
  spec.windows = read_layer_windows(config, spec.n_layers);
  return spec;
}

}  // namespace

extern const Architecture kQwen3;
const Architecture kQwen3 = {.name = "Qwen3ForCausalLM",
                             .model_type = "qwen3",
                             .gguf = "qwen3",
                             .gguf_permutes_qk = false,
                             .make_spec = make_spec};

}  // namespace nibble
