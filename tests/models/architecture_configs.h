// A small config of every architecture, with widths that groups of 32 divide.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

namespace nibble::testing {

inline nlohmann::json rotary_config(const char* architecture,
                                    const nlohmann::json& changes = nlohmann::json::object()) {
  nlohmann::json config = {{"architectures", {architecture}},
                           {"hidden_size", 64},
                           {"intermediate_size", 96},
                           {"num_attention_heads", 4},
                           {"num_key_value_heads", 2},
                           {"num_hidden_layers", 2},
                           {"vocab_size", 101},
                           {"max_position_embeddings", 64}};
  config.update(changes);
  return config;
}

inline nlohmann::json opt_config(const nlohmann::json& changes = nlohmann::json::object()) {
  nlohmann::json config = {{"architectures", {"OPTForCausalLM"}},
                           {"hidden_size", 64},
                           {"ffn_dim", 96},
                           {"num_attention_heads", 4},
                           {"num_hidden_layers", 2},
                           {"vocab_size", 101},
                           {"max_position_embeddings", 64}};
  config.update(changes);
  return config;
}

/// One of each, and of OPT its kinds.
inline std::vector<nlohmann::json> architecture_configs() {
  return {
      rotary_config("LlamaForCausalLM"),
      rotary_config(
          "Qwen2ForCausalLM",
          {{"use_sliding_window", true}, {"sliding_window", 9}, {"max_window_layers", 1}}),
      rotary_config("Qwen3ForCausalLM", {{"head_dim", 32}, {"tie_word_embeddings", true}}),
      rotary_config("MistralForCausalLM", {{"sliding_window", 9}, {"head_dim", 24}}),
      rotary_config("GemmaForCausalLM", {{"head_dim", 32}, {"num_key_value_heads", 1}}),
      opt_config(),
      opt_config({{"do_layer_norm_before", false}, {"word_embed_proj_dim", 32}}),
      opt_config({{"enable_bias", false}, {"layer_norm_elementwise_affine", false}}),
  };
}

}  // namespace nibble::testing
