// A model small enough to be made anew in every test, with the awkward sizes: a vocabulary that is
// no multiple of 16, widths that no group of 128 fits.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/temporary_folder.h"
#include "nibble/core/thread_pool.h"
#include "nibble/quant/random_model.h"

namespace nibble::testing {

inline nlohmann::json tiny_config() {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"hidden_size", 64},
          {"intermediate_size", 96},
          {"num_attention_heads", 4},
          {"num_key_value_heads", 2},
          {"num_hidden_layers", 3},
          {"vocab_size", 203},
          {"max_position_embeddings", 64},
          {"rms_norm_eps", 1e-5},
          {"tie_word_embeddings", true},
          {"attention_bias", true}};
}

/// Writes the config and the random model that it describes; gives the model's folder.
inline std::filesystem::path make_tiny_model(const TemporaryFolder& folder,
                                             const RandomModelOptions& options,
                                             const nlohmann::json& config = tiny_config(),
                                             int threads = 1) {
  write_file(folder / "config.json", config.dump());
  ThreadPool pool(threads);
  write_random_model(folder / "config.json", options, pool, folder / "model", true);
  return folder / "model";
}

}  // namespace nibble::testing
