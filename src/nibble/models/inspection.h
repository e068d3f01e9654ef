// What a checkpoint holds and what running it costs, from its headers alone: no weight is touched.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nibble/models/checkpoint.h"
#include "nibble/models/parameters.h"
#include "nibble/models/token_cost.h"

namespace nibble {

/// A parameter as the checkpoint holds it. The parts of a packed layer are one.
struct StoredParameter : Parameter {
  std::string format;                // "BF16", "Q4_1" ... or "w4", "w3"
  int group_size = 0;                // of a packed layer
  std::int64_t bytes = 0;            // in the file
  bool is_quantized = false;         // integers of ours or another tool's
  std::vector<std::string> tensors;  // of the file

  /// Scales and zero points included.
  double bits_per_weight() const;
};

/// In the order of the model. A head that is the embedding's own tensor is left out. Throws Error
/// for missing tensors and wrong shapes.
std::vector<StoredParameter> stored_parameters(const Checkpoint& checkpoint);

struct Inspection {
  std::vector<StoredParameter> tensors;
  std::vector<std::string> unused;  // in the file, and no part of the model
  std::int64_t parameters = 0;      // of the model; those of a tied head count once
  std::int64_t bytes = 0;           // of all tensors listed
  TokenCost token;
};

/// `dtype`: what dense weights are computed in (they are converted at load if they are stored
/// otherwise), which decides what a token reads. Throws Error as stored_parameters() does.
Inspection inspect(const Checkpoint& checkpoint, DType dtype);

/// The tensors of all blocks that are alike, as one.
struct TensorGroup {
  StoredParameter first;
  std::string name;        // "model.layers.{0-31}.mlp.up_proj.weight"
  std::int64_t count = 0;  // of tensors
};
std::vector<TensorGroup> group_tensors(const std::vector<StoredParameter>& tensors);

/// How q, k and v are shown: as the three layers that they are, or as the one product that they are
/// computed as.
enum class ProjectionView { kApart, kAsOne };

/// The module tree as PyTorch prints it, blocks that are alike shown once; each linear layer with
/// its sizes, bits and group size.
std::string module_tree(const Checkpoint& checkpoint,
                        ProjectionView projections = ProjectionView::kApart);

}  // namespace nibble
