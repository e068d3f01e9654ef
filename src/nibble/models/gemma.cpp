// GemmaForCausalLM: the first Gemma, 2b and 7b, and CodeGemma. Llama with scaled embeddings, norms
// that multiply by 1 + weight, GELU, a head size of its own and the embedding as head. Hugging
// Face: transformers/models/gemma/modeling_gemma.py.
#include <cmath>

#include "nibble/core/error.h"
#include "nibble/models/architecture.h"
#include "nibble/models/config_values.h"
#include "nibble/models/llama_family.h"

namespace nibble {
namespace {

ModelSpec make_spec(const JsonObject& config) {
  if (config.get_bool("use_bidirectional_attention", false)) {
    fail("{}: \"use_bidirectional_attention\" is not supported", config.origin());
  }
  ModelSpec spec = read_llama_family(config, {.vocab = 256000,
                                              .hidden = 3072,
                                              .intermediate = 24576,
                                              .n_layers = 28,
                                              .n_heads = 16,
                                              .n_kv_heads = 16,
                                              .context = 8192,
                                              .head_dim = 256,
                                              .activation = "gelu_pytorch_tanh",
                                              .tied_head = true,
                                              .bos = 2,
                                              .eos = 1});
  if (config.has("hidden_activation")) {  // of configs from 2024: wins over "hidden_act"
    spec.activation = read_activation(config, "hidden_activation", "");
  }
  // The first configs said "gelu" where the models were trained with the approximation.
  if (spec.activation == Activation::kGelu) spec.activation = Activation::kGeluTanh;
  spec.norm.weight_offset = 1.0f;
  spec.embedding_scale = std::sqrt(static_cast<float>(spec.hidden));
  return spec;
}

}  // namespace

extern const Architecture kGemma;
const Architecture kGemma = {.name = "GemmaForCausalLM",
                             .model_type = "gemma",
                             .gguf = "gemma",
                             .gguf_permutes_qk = false,
                             .make_spec = make_spec};

}  // namespace nibble
