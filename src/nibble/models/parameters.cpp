#include "nibble/models/parameters.h"

#include <functional>
#include <numeric>

namespace nibble {

std::int64_t Parameter::count() const {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

std::vector<Parameter> parameters_of(const ModelSpec& spec) {
  std::vector<Parameter> all;
  for (const Module& module : spec.modules()) {
    if (module.has_weight) {
      const bool is_tied = module.kind == ModuleKind::kLinear && spec.is_tied(module.linear());
      all.push_back({module, module.name + ".weight", module.shape, false, is_tied});
    }
    if (module.has_bias) {
      all.push_back({module, module.name + ".bias", {module.shape[0]}, true, false});
    }
  }
  return all;
}

std::int64_t parameter_count(const ModelSpec& spec) {
  std::int64_t count = 0;
  for (const Parameter& parameter : parameters_of(spec)) {
    if (!parameter.is_tied) count += parameter.count();
  }
  return count;
}

}  // namespace nibble
