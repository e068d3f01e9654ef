#include "nibble/models/model_spec.h"

#include <utility>

namespace nibble {

std::string block_name(const std::string& pattern, std::int64_t layer) {
  const std::size_t at = pattern.find("{}");
  if (at == std::string::npos) return pattern;
  return pattern.substr(0, at) + std::to_string(layer) + pattern.substr(at + 2);
}

std::vector<LinearSpec> ModelSpec::block_linears(std::int64_t layer) const {
  std::vector<LinearSpec> linears = {q, k, v, o};
  if (gate) linears.push_back(*gate);
  linears.insert(linears.end(), {up, down});
  for (LinearSpec& linear : linears) linear.name = block_name(linear.name, layer);
  return linears;
}

std::vector<LinearSpec> ModelSpec::linears() const {
  std::vector<LinearSpec> all;
  if (project_in) all.push_back(*project_in);
  for (std::int64_t layer = 0; layer < n_layers; ++layer) {
    for (LinearSpec& linear : block_linears(layer)) all.push_back(std::move(linear));
  }
  if (project_out) all.push_back(*project_out);
  all.push_back(head);
  return all;
}

std::vector<NormModule> ModelSpec::block_norms(std::int64_t layer) const {
  std::vector<NormModule> norms = {{input_norm, hidden}};
  if (!q_norm.empty()) norms.push_back({q_norm, head_dim});
  if (!k_norm.empty()) norms.push_back({k_norm, head_dim});
  norms.push_back({post_norm, hidden});
  for (NormModule& module : norms) module.name = block_name(module.name, layer);
  return norms;
}

std::vector<ParameterSpec> ModelSpec::norm_parameters(const NormModule& module) const {
  std::vector<ParameterSpec> parameters;
  if (norm.has_weight) parameters.push_back({module.name + ".weight", {module.size}});
  if (norm.has_bias) parameters.push_back({module.name + ".bias", {module.size}});
  return parameters;
}

std::vector<ParameterSpec> ModelSpec::embeddings() const {
  std::vector<ParameterSpec> tables = {{embedding + ".weight", {vocab, embedding_width}}};
  if (positions) tables.push_back({positions->name + ".weight", {positions->rows, hidden}});
  return tables;
}

std::vector<ParameterSpec> ModelSpec::norm_parameters() const {
  std::vector<ParameterSpec> all;
  const auto add = [&](const NormModule& module) {
    for (ParameterSpec& parameter : norm_parameters(module)) all.push_back(std::move(parameter));
  };
  for (std::int64_t layer = 0; layer < n_layers; ++layer) {
    for (const NormModule& module : block_norms(layer)) add(module);
  }
  if (!final_norm.empty()) add({final_norm, hidden});
  return all;
}

}  // namespace nibble
