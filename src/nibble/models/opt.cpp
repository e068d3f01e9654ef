// OPTForCausalLM: OPT 125m to 66b, Galactica. Learned positions, LayerNorm, a plain MLP; 350m has a
// narrower embedding and norms behind the residual sums. Hugging Face:
// transformers/models/opt/modeling_opt.py.
#include "nibble/core/error.h"
#include "nibble/models/architecture.h"
#include "nibble/models/config_values.h"

namespace nibble {
namespace {

void read_sizes(const JsonObject& config, ModelSpec& spec) {
  spec.n_layers = read_size(config, "num_hidden_layers", kMaxLayers, 12);
  spec.hidden = read_size(config, "hidden_size", kMaxWidth, 768);
  spec.intermediate = read_size(config, "ffn_dim", kMaxWidth, 3072);
  spec.n_heads = read_size(config, "num_attention_heads", kMaxWidth, 12);
  spec.n_kv_heads = spec.n_heads;
  if (spec.hidden % spec.n_heads != 0) {
    fail("{}: \"num_attention_heads\" {} must divide \"hidden_size\" {}", config.origin(),
         spec.n_heads, spec.hidden);
  }
  spec.head_dim = spec.hidden / spec.n_heads;
  spec.vocab = read_size(config, "vocab_size", kMaxVocab, 50272);
  spec.embedding_width = config.get_int("word_embed_proj_dim", 1, kMaxWidth, spec.hidden);
  spec.context = config.get_int("max_position_embeddings", 1, kMaxContext, 2048);
}

void name_block_modules(const JsonObject& config, ModelSpec& spec) {
  const bool bias = config.get_bool("enable_bias", true);
  spec.q = {"model.decoder.layers.{}.self_attn.q_proj", spec.hidden, spec.hidden, bias};
  spec.k = {"model.decoder.layers.{}.self_attn.k_proj", spec.hidden, spec.hidden, bias};
  spec.v = {"model.decoder.layers.{}.self_attn.v_proj", spec.hidden, spec.hidden, bias};
  spec.o = {"model.decoder.layers.{}.self_attn.out_proj", spec.hidden, spec.hidden, bias};
  spec.up = {"model.decoder.layers.{}.fc1", spec.intermediate, spec.hidden, bias};
  spec.down = {"model.decoder.layers.{}.fc2", spec.hidden, spec.intermediate, bias};
  spec.input_norm = "model.decoder.layers.{}.self_attn_layer_norm";
  spec.post_norm = "model.decoder.layers.{}.final_layer_norm";
}

void name_outer_modules(const JsonObject& config, ModelSpec& spec) {
  spec.embedding = "model.decoder.embed_tokens";
  // Rows 0 and 1 were for padding where the models were trained.
  spec.positions = PositionSpec{"model.decoder.embed_positions", spec.context + 2, 2};
  if (spec.embedding_width != spec.hidden) {
    spec.project_in = {"model.decoder.project_in", spec.hidden, spec.embedding_width};
    spec.project_out = {"model.decoder.project_out", spec.embedding_width, spec.hidden};
  }
  if (spec.norm_first && !config.get_bool("_remove_final_layer_norm", false)) {
    spec.final_norm = "model.decoder.final_layer_norm";
  }
  spec.head = {"lm_head", spec.vocab, spec.embedding_width};
}

ModelSpec make_spec(const JsonObject& config) {
  ModelSpec spec;
  read_sizes(config, spec);
  spec.activation = read_activation(config, "activation_function", "relu");
  const bool affine = config.get_bool("layer_norm_elementwise_affine", true);
  spec.norm = {.kind = NormKind::kLayer, .has_weight = affine, .has_bias = affine};
  spec.norm_first = config.get_bool("do_layer_norm_before", true);
  spec.tied_head = config.get_bool("tie_word_embeddings", true);
  spec.bos = read_bos(config, 2);
  spec.eos = read_eos(config, 2);
  name_block_modules(config, spec);
  name_outer_modules(config, spec);
  return spec;
}

}  // namespace

extern const Architecture kOpt;
const Architecture kOpt = {.name = "OPTForCausalLM",
                           .model_type = "opt",
                           .gguf = "",  // llama.cpp does not know it
                           .gguf_permutes_qk = false,
                           .make_spec = make_spec};

}  // namespace nibble
