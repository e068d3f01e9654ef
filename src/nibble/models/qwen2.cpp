// Qwen2ForCausalLM: Qwen1.5, Qwen2 and Qwen2.5. Llama with biases on q, k and v, and windows in
// some layers. Hugging Face: transformers/models/qwen2/modeling_qwen2.py.
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
                                              .bos = std::nullopt,
                                              .eos = std::nullopt});
  spec.q.bias = spec.k.bias = spec.v.bias = true;
  spec.o.bias = false;
  spec.windows = read_layer_windows(config, spec.n_layers);
  return spec;
}

}  // namespace

extern const Architecture kQwen2;
const Architecture kQwen2 = {.name = "Qwen2ForCausalLM",
                             .model_type = "qwen2",
                             .gguf = "qwen2",
                             .gguf_permutes_qk = false,
                             .make_spec = make_spec};

}  // namespace nibble
