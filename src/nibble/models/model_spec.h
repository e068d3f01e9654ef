// A model as data: what its layers do and what its checkpoint calls them. decoder.cpp runs any
// spec; one file an architecture (llama.cpp ...) makes specs from configs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "nibble/kernels/kernel_set.h"  // Activation
#include "nibble/layers/norm.h"         // NormKind

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
  enum class Scaling { kNone, kLinear, kLlama3, kFactors };
  double theta = 10000.0;
  Scaling scaling = Scaling::kNone;
  double factor = 1.0;
  // Of kLlama3 only:
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  double original_context = 8192;
  // Of kFactors only: what the frequency of each pair is divided by, (head_dim / 2).
  std::vector<float> factors;
};

/// Learned position embeddings: position p is row p + offset of name.weight, (rows, hidden).
struct PositionSpec {
  std::string name;
  std::int64_t rows = 0;
  std::int64_t offset = 0;
};

/// What all norms of a model have in common.
struct NormSpec {
  NormKind kind = NormKind::kRms;
  float eps = 1e-5f;
  bool has_weight = true;      // name.weight; without, it is 1
  bool has_bias = false;       // name.bias; without, it is 0
  float weight_offset = 0.0f;  // added to what the checkpoint holds as weight
};

/// What a module with parameters is in its model.
enum class ModuleRole : std::uint8_t {
  kEmbedding,
  kPositions,
  kProjectIn,
  kQ,
  kK,
  kV,
  kO,
  kGate,
  kUp,
  kDown,
  kInputNorm,
  kQNorm,
  kKNorm,
  kPostNorm,
  kFinalNorm,
  kProjectOut,
  kHead
};
enum class ModuleKind : std::uint8_t { kTable, kLinear, kNorm };

/// A table that rows are looked up in, a linear layer or a norm.
struct Module {
  ModuleRole role;
  ModuleKind kind;
  std::int64_t layer;               // number of its decoder block; -1 outside them
  std::string name;                 // "model.layers.0.mlp.up_proj"
  std::vector<std::int64_t> shape;  // of name.weight: (rows, width), (out, in) or (size)
  bool has_weight = true;
  bool has_bias = false;  // name.bias, (shape[0])

  /// Of a linear layer.
  LinearSpec linear() const { return {name, shape[0], shape[1], has_bias}; }
};

/// Linear layers of a decoder block that share an input, and the module before them: what the input
/// channels of their weights are multiplied by, its output channels can be divided by, and the
/// block computes the same. AWQ and SmoothQuant move scales so.
struct ScaleGroup {
  enum class Inspected : std::uint8_t { kAttention, kMlp, kLayer };
  ModuleRole before;               // a norm or a linear layer
  std::vector<ModuleRole> layers;  // in the order of the forward pass
  Inspected inspected;             // whose output shows how well a scale does: AWQ's search
};

struct ModelSpec {
  std::string architecture;  // "LlamaForCausalLM"

  std::int64_t n_layers = 0;
  std::int64_t hidden = 0;
  std::int64_t intermediate = 0;
  std::int64_t n_heads = 0;
  std::int64_t n_kv_heads = 0;  // divides n_heads
  std::int64_t head_dim = 0;    // even where there is RoPE
  std::int64_t vocab = 0;
  std::int64_t context = 0;  // positions the model was made for
  NormSpec norm;
  bool norm_first = true;  // x += f(norm(x)); otherwise x = norm(x + f(x))
  Activation activation = Activation::kSilu;
  std::optional<RopeSpec> rope;
  std::optional<PositionSpec> positions;  // a model that has them ends with them
  /// Positions that the tokens of each layer see, their own included, 0 for all; empty: all.
  std::vector<std::int64_t> windows;

  // Modules of a decoder block; their names hold "{}".
  LinearSpec q, k, v, o, up, down;
  std::optional<LinearSpec> gate;
  std::string input_norm;      // (hidden), of the attention
  std::string post_norm;       // (hidden), of the MLP
  std::string q_norm, k_norm;  // (head_dim), of each head; "" for none
  // Modules outside the blocks.
  std::string embedding;  // (vocab, embedding_width)
  std::int64_t embedding_width = 0;
  float embedding_scale = 1.0f;  // rounded to the weights' dtype, as the models were trained
  std::optional<LinearSpec> project_in;   // (hidden, embedding_width), behind the embedding
  std::optional<LinearSpec> project_out;  // (embedding_width, hidden), before the head
  std::string final_norm;                 // (hidden); "" for none
  LinearSpec head;                        // (vocab, embedding_width)
  bool tied_head = false;                 // the head's weight is the embedding's

  std::optional<std::int32_t> bos;
  std::vector<std::int32_t> eos;  // generation ends at any of them

  /// All modules, tables first, then block by block, the head last. Whatever goes through a
  /// model's parameters goes through this.
  std::vector<Module> modules() const;
  /// The linear layers of them, in the order of the forward pass.
  std::vector<LinearSpec> linears() const;
  /// The scale groups of a decoder block, in the order of the forward pass (scale_groups.cpp).
  std::vector<ScaleGroup> scale_groups() const;
  /// The linear layer of a decoder block, its name with "{}"; null where there is none.
  const LinearSpec* block_linear(ModuleRole role) const;
  /// The name of a norm or linear layer of block `layer`.
  std::string block_module(ModuleRole role, std::int64_t layer) const;
  /// The embedding's table as a matrix that may be packed like a linear layer's weight.
  LinearSpec embedding_matrix() const { return {embedding, vocab, embedding_width}; }
  /// Whether the layer is a head whose weight is the embedding's.
  bool is_tied(const LinearSpec& linear) const { return tied_head && linear.name == head.name; }

  /// Positions that a token sees in block `layer`; 0: all.
  std::int64_t window(std::int64_t layer) const {
    return windows.empty() ? 0 : windows[static_cast<std::size_t>(layer)];
  }
};

/// `pattern` with "{}" replaced by the number of the block.
std::string block_name(const std::string& pattern, std::int64_t layer);

}  // namespace nibble
