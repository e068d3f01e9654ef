#include "nibble/models/llama_family.h"

#include <nlohmann/json.hpp>

#include "nibble/core/error.h"
#include "nibble/models/architecture.h"
#include "nibble/models/config_values.h"

namespace nibble {
namespace {

/// Head size: "head_dim", the architecture's own, or the hidden size over the heads.
std::int64_t read_head_dim(const JsonObject& config, const ModelSpec& spec,
                           std::optional<std::int64_t> fallback) {
  if (config.has("head_dim") || fallback) {
    const std::int64_t head_dim = config.get_int("head_dim", 1, kMaxWidth, fallback.value_or(0));
    if (head_dim % 2 == 0) return head_dim;
    fail("{}: \"head_dim\" must be even, found {}", config.origin(), head_dim);
  }
  if (spec.hidden % (2 * spec.n_heads) != 0) {
    fail("{}: \"hidden_size\" {} over \"num_attention_heads\" {} is not an even head size",
         config.origin(), spec.hidden, spec.n_heads);
  }
  return spec.hidden / spec.n_heads;
}

void read_sizes(const JsonObject& config, const LlamaFamilyDefaults& defaults, ModelSpec& spec) {
  spec.n_layers = read_size(config, "num_hidden_layers", kMaxLayers, defaults.n_layers);
  spec.hidden = read_size(config, "hidden_size", kMaxWidth, defaults.hidden);
  spec.intermediate = read_size(config, "intermediate_size", kMaxWidth, defaults.intermediate);
  spec.n_heads = read_size(config, "num_attention_heads", kMaxWidth, defaults.n_heads);
  if (config.json().contains("num_key_value_heads") || !defaults.n_kv_heads) {
    spec.n_kv_heads = config.get_int("num_key_value_heads", 1, spec.n_heads, spec.n_heads);
  } else {
    spec.n_kv_heads = read_size(config, "num_key_value_heads", spec.n_heads, *defaults.n_kv_heads);
  }
  if (spec.n_heads % spec.n_kv_heads != 0) {
    fail("{}: \"num_key_value_heads\" {} must divide \"num_attention_heads\" {}", config.origin(),
         spec.n_kv_heads, spec.n_heads);
  }
  spec.head_dim = read_head_dim(config, spec, defaults.head_dim);
  spec.vocab = read_size(config, "vocab_size", kMaxVocab, defaults.vocab);
  spec.embedding_width = spec.hidden;
  spec.context = config.get_int("max_position_embeddings", 1, kMaxContext, defaults.context);
}

void check_rope(const JsonObject& config, const ModelSpec& spec) {
  const std::size_t factors = spec.rope->factors.size();
  if (factors > 0 && factors != static_cast<std::size_t>(spec.head_dim / 2)) {
    fail("{}: \"rope_scaling\" has {} factors, expected one for each pair of a head of {}",
         config.origin(), factors, spec.head_dim);
  }
  const auto parameters = config.find_object("rope_parameters");
  for (const JsonObject* object : {&config, parameters ? &*parameters : &config}) {
    const double share = object->find_number("partial_rotary_factor").value_or(1);
    if (share == 1) continue;
    fail("{}: \"partial_rotary_factor\" {} is not supported; supported: 1", object->origin(),
         share);
  }
}

void name_modules(const JsonObject& config, ModelSpec& spec) {
  const std::int64_t q_width = spec.n_heads * spec.head_dim;
  const std::int64_t kv_width = spec.n_kv_heads * spec.head_dim;
  const bool attention_bias = config.get_bool("attention_bias", false);
  const bool mlp_bias = config.get_bool("mlp_bias", false);
  spec.q = {"model.layers.{}.self_attn.q_proj", q_width, spec.hidden, attention_bias};
  spec.k = {"model.layers.{}.self_attn.k_proj", kv_width, spec.hidden, attention_bias};
  spec.v = {"model.layers.{}.self_attn.v_proj", kv_width, spec.hidden, attention_bias};
  spec.o = {"model.layers.{}.self_attn.o_proj", spec.hidden, q_width, attention_bias};
  spec.gate = LinearSpec{"model.layers.{}.mlp.gate_proj", spec.intermediate, spec.hidden, mlp_bias};
  spec.up = {"model.layers.{}.mlp.up_proj", spec.intermediate, spec.hidden, mlp_bias};
  spec.down = {"model.layers.{}.mlp.down_proj", spec.hidden, spec.intermediate, mlp_bias};
  spec.input_norm = "model.layers.{}.input_layernorm";
  spec.post_norm = "model.layers.{}.post_attention_layernorm";
  spec.embedding = "model.embed_tokens";
  spec.final_norm = "model.norm";
  spec.head = {"lm_head", spec.vocab, spec.hidden, false};
}

}  // namespace

ModelSpec read_llama_family(const JsonObject& config, const LlamaFamilyDefaults& defaults) {
  ModelSpec spec;
  read_sizes(config, defaults, spec);
  spec.activation = read_activation(config, "hidden_act", defaults.activation);
  spec.norm.eps = static_cast<float>(config.find_number("rms_norm_eps").value_or(1e-6));
  if (spec.norm.eps < 0) fail("{}: \"rms_norm_eps\" must be 0 or more", config.origin());
  spec.rope = read_rope(config);
  check_rope(config, spec);
  spec.tied_head = config.get_bool("tie_word_embeddings", defaults.tied_head);
  spec.bos = read_bos(config, defaults.bos);
  spec.eos = read_eos(config, defaults.eos);
  name_modules(config, spec);
  return spec;
}

}  // namespace nibble
