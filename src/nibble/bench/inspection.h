// What a checkpoint holds and what running it costs, from its headers alone: no weight is touched.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nibble/models/checkpoint.h"

namespace nibble {

/// A parameter of the model. The parts of a packed layer are one tensor.
struct TensorInfo {
  std::string name;                 // "model.layers.0.mlp.up_proj.weight"
  std::vector<std::int64_t> shape;  // (out, in) for a linear layer, packed or not
  std::string format;               // "BF16", "Q4_1" ... or "w4", "w3"
  int group_size = 0;               // of a packed layer
  std::int64_t bytes = 0;           // in the file

  std::int64_t parameters() const;
  /// Scales and zero points included.
  double bits_per_weight() const;
};

/// What one token of decode takes.
struct TokenCost {
  double bytes = 0;                        // read: all linear layers and the head
  double weights = 0;                      // "
  double operations = 0;                   // of the matrix products, 2 a multiply-add
  double attention_operations = 0;         // for each position in the context
  std::int64_t kv_bytes_per_position = 0;  // of a bf16 cache; read for each position as well

  double bits_per_weight() const { return 8 * bytes / weights; }
};

struct Inspection {
  std::vector<TensorInfo> tensors;  // in the order of the model; a head that is the embedding's
                                    // own tensor is not listed again
  std::vector<std::string> unused;  // in the file, and no part of the model
  std::int64_t parameters = 0;      // of the model; those of a tied head count once
  std::int64_t bytes = 0;           // of all tensors listed
  TokenCost token;
};

/// `dtype`: what dense weights are computed in (they are converted at load if they are stored
/// otherwise), which decides what a token reads. Throws Error for missing tensors and wrong shapes.
Inspection inspect(const Checkpoint& checkpoint, DType dtype);

/// The tensors of all blocks that are alike, as one.
struct TensorGroup {
  TensorInfo first;
  std::string name;        // "model.layers.{0-31}.mlp.up_proj.weight"
  std::int64_t count = 0;  // of tensors
};
std::vector<TensorGroup> group_tensors(const std::vector<TensorInfo>& tensors);

/// The module tree as PyTorch prints it, blocks that are alike shown once; each linear layer with
/// its sizes, bits and group size.
std::string module_tree(const Checkpoint& checkpoint);

}  // namespace nibble
