// LlamaForCausalLM: Llama 2, 3.1 and 3.2, SmolLM2 and others of their shape. Hugging Face:
// transformers/models/llama/modeling_llama.py.
#include "nibble/models/architecture.h"
#include "nibble/models/llama_family.h"

namespace nibble {
namespace {

ModelSpec make_spec(const JsonObject& config) {
  return read_llama_family(config, {});
}

}  // namespace

extern const Architecture kLlama;
const Architecture kLlama = {.name = "LlamaForCausalLM",
                             .model_type = "llama",
                             .gguf = "llama",
                             .gguf_permutes_qk = true,
                             .make_spec = make_spec};

}  // namespace nibble
