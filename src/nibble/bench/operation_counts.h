// What a model multiplies, by its shape alone: the products of its linear layers, and the
// operations of a prompt and of the tokens after it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nibble/models/model_spec.h"

namespace nibble {

/// Products of one shape: (m, k) times (k, n), a linear layer of k input and n output features.
struct ProductShape {
  std::int64_t m = 0;
  std::int64_t k = 0;
  std::int64_t n = 0;
  std::int64_t count = 0;            // of layers
  std::vector<std::string> modules;  // their names within a block: "q_proj"
};

/// Those of a pass over `tokens` tokens, in the order in which they come first; the head multiplies
/// the last token only.
std::vector<ProductShape> product_shapes(const ModelSpec& spec, std::int64_t tokens);

/// Operations of one pass, 2 for a multiply-add.
struct OperationCount {
  double linear = 0;     // of all linear layers, the head for one token
  double attention = 0;  // q k and p v, for the positions that each token sees

  double total() const { return linear + attention; }
};

/// Of a pass over `tokens` tokens behind `start` others.
OperationCount count_operations(const ModelSpec& spec, std::int64_t start, std::int64_t tokens);

}  // namespace nibble
