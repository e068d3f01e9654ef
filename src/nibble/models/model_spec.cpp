#include "nibble/models/model_spec.h"

namespace nibble {

std::string block_name(const std::string& pattern, std::int64_t layer) {
  const std::size_t at = pattern.find("{}");
  if (at == std::string::npos) return pattern;
  return pattern.substr(0, at) + std::to_string(layer) + pattern.substr(at + 2);
}

std::vector<LinearSpec> ModelSpec::block_linears(std::int64_t layer) const {
  std::vector<LinearSpec> linears = {q, k, v, o, gate, up, down};
  for (LinearSpec& linear : linears) linear.name = block_name(linear.name, layer);
  return linears;
}

std::vector<LinearSpec> ModelSpec::linears() const {
  std::vector<LinearSpec> all;
  for (std::int64_t layer = 0; layer < n_layers; ++layer) {
    for (LinearSpec& linear : block_linears(layer)) all.push_back(std::move(linear));
  }
  all.push_back(head);
  return all;
}

}  // namespace nibble
