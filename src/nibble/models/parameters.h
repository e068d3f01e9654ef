// The parameters of a model, one by one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nibble/models/model_spec.h"

namespace nibble {

/// A parameter of the model.
struct Parameter {
  Module module;
  std::string name;                 // "model.layers.0.mlp.up_proj.weight"
  std::vector<std::int64_t> shape;  // (size) of a vector
  bool is_bias = false;
  bool is_tied = false;  // the head's weight, which is the embedding's

  /// Number of its elements.
  std::int64_t count() const;
  bool is_matrix() const { return shape.size() > 1; }
};

/// All, in the order of ModelSpec::modules(), a weight before its bias.
std::vector<Parameter> parameters_of(const ModelSpec& spec);

/// Elements of all; those of a tied head count once.
std::int64_t parameter_count(const ModelSpec& spec);

}  // namespace nibble
