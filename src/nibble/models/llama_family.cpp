#include "nibble/models/llama_family.h"

#include "nibble/core/error.h"
#include "nibble/models/architecture.h"

namespace nibble {
namespace {

// Bounds far above any real model: no product of two of them overflows.
constexpr std::int64_t kMaxWidth = 1 << 22;
constexpr std::int64_t kMaxLayers = 1 << 14;
constexpr std::int64_t kMaxVocab = 1 << 26;

/// Head size: "head_dim", or the hidden size over the heads.
std::int64_t read_head_dim(const JsonObject& config, const ModelSpec& spec) {
  if (config.has("head_dim")) {
    const std::int64_t head_dim = config.get_int("head_dim", 1, kMaxWidth);
    if (head_dim % 2 == 0) return head_dim;
    fail("{}: \"head_dim\" must be even, found {}", config.origin(), head_dim);
  }
  if (spec.hidden % (2 * spec.n_heads) != 0) {
    fail("{}: \"hidden_size\" {} over \"num_attention_heads\" {} is not an even head size",
         config.origin(), spec.hidden, spec.n_heads);
  }
  return spec.hidden / spec.n_heads;
}

void read_sizes(const JsonObject& config, ModelSpec& spec) {
  spec.n_layers = config.get_int("num_hidden_layers", 1, kMaxLayers);
  spec.hidden = config.get_int("hidden_size", 1, kMaxWidth);
  spec.intermediate = config.get_int("intermediate_size", 1, kMaxWidth);
  spec.n_heads = config.get_int("num_attention_heads", 1, kMaxWidth);
  spec.n_kv_heads = config.get_int("num_key_value_heads", 1, spec.n_heads, spec.n_heads);
  if (spec.n_heads % spec.n_kv_heads != 0) {
    fail("{}: \"num_key_value_heads\" {} must divide \"num_attention_heads\" {}", config.origin(),
         spec.n_kv_heads, spec.n_heads);
  }
  spec.head_dim = read_head_dim(config, spec);
  spec.vocab = config.get_int("vocab_size", 1, kMaxVocab);
  spec.context = config.get_int("max_position_embeddings", 1, 1 << 30, 2048);
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
  spec.gate = {"model.layers.{}.mlp.gate_proj", spec.intermediate, spec.hidden, mlp_bias};
  spec.up = {"model.layers.{}.mlp.up_proj", spec.intermediate, spec.hidden, mlp_bias};
  spec.down = {"model.layers.{}.mlp.down_proj", spec.hidden, spec.intermediate, mlp_bias};
  spec.input_norm = "model.layers.{}.input_layernorm";
  spec.post_norm = "model.layers.{}.post_attention_layernorm";
  spec.embedding = "model.embed_tokens";
  spec.final_norm = "model.norm";
  spec.head = {"lm_head", spec.vocab, spec.hidden, false};
}

}  // namespace

ModelSpec read_llama_family(const JsonObject& config) {
  ModelSpec spec;
  read_sizes(config, spec);
  const auto activation = config.find_string("hidden_act");
  if (activation && *activation != "silu") {
    fail("{}: \"hidden_act\" must be \"silu\", found \"{}\"", config.origin(), *activation);
  }
  spec.norm_eps = static_cast<float>(config.find_number("rms_norm_eps").value_or(1e-6));
  if (spec.norm_eps < 0) fail("{}: \"rms_norm_eps\" must be 0 or more", config.origin());
  spec.rope = read_rope(config);
  spec.tied_head = config.get_bool("tie_word_embeddings", false);
  spec.bos = read_bos(config);
  spec.eos = read_eos(config);
  name_modules(config, spec);
  return spec;
}

}  // namespace nibble
