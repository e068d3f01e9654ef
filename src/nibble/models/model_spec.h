// A model as data: what its layers do and what its checkpoint calls them. decoder.cpp runs any
// spec; one file an architecture (llama.cpp ...) makes specs from configs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace nibble {

/// A linear layer: `name` is its module's name in Hugging Face checkpoints ("{}" stands for the
/// number of the decoder block), with parameters name.weight (out, in) and, with bias, name.bias
/// (out).
struct LinearSpec {
  std::string name;
  std::int64_t out = 0;
  std::int64_t in = 0;
  bool bias = false;
};

/// Rotary position embedding (Su et al. 2021), halves of a head paired.
struct RopeSpec {
  enum class Scaling { kNone, kLinear, kLlama3 };
  double theta = 10000.0;
  Scaling scaling = Scaling::kNone;
  double factor = 1.0;
  // Of kLlama3 only:
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  double original_context = 8192;
};

struct ModelSpec {
  std::string architecture;  // "LlamaForCausalLM"

  std::int64_t n_layers = 0;
  std::int64_t hidden = 0;
  std::int64_t intermediate = 0;
  std::int64_t n_heads = 0;
  std::int64_t n_kv_heads = 0;  // divides n_heads
  std::int64_t head_dim = 0;    // even
  std::int64_t vocab = 0;
  std::int64_t context = 0;  // positions the model was made for
  float norm_eps = 1e-5f;    // of RMSNorm
  RopeSpec rope;

  // Modules of a decoder block; their names hold "{}".
  LinearSpec q, k, v, o, gate, up, down;
  std::string input_norm;  // (hidden)
  std::string post_norm;   // (hidden), before the MLP
  // Modules outside the blocks.
  std::string embedding;   // (vocab, hidden)
  std::string final_norm;  // (hidden)
  LinearSpec head;         // (vocab, hidden)
  bool tied_head = false;  // the head's weight is the embedding's

  std::optional<std::int32_t> bos;
  std::vector<std::int32_t> eos;  // generation ends at any of them

  /// The linear layers of block `layer` in the order of the forward pass, names filled in.
  std::vector<LinearSpec> block_linears(std::int64_t layer) const;
  /// All linear layers, block by block, the head last.
  std::vector<LinearSpec> linears() const;
};

/// `pattern` with "{}" replaced by the number of the block.
std::string block_name(const std::string& pattern, std::int64_t layer);

}  // namespace nibble
