// Which scales can be moved in a decoder block, by what its spec says of it: the groups of Lin et
// al. 2023 (AWQ), as github.com/mit-han-lab/llm-awq, awq/quantize/auto_scale.py, has them.
#include "nibble/models/model_spec.h"

namespace nibble {
namespace {

using Inspected = ScaleGroup::Inspected;

/// Whether dividing what `spec`'s norms multiply by divides the inputs of the layers behind them,
/// and nothing else: a norm behind the residual sum feeds the next sum too.
bool has_scalable_norms(const ModelSpec& spec) {
  return spec.norm_first && spec.norm.has_weight;
}

/// Whether each output of v reaches one input of o. (Where several heads share a value it reaches
/// several, and widths differ.)
bool has_scalable_values(const ModelSpec& spec) {
  return spec.v.out == spec.o.out && spec.v.in == spec.o.in;
}

/// Whether the inner values of the MLP are multiplied by what the outputs of `up` are.
bool has_scalable_inner_values(const ModelSpec& spec) {
  return spec.gate || spec.activation == Activation::kRelu;
}

}  // namespace

std::vector<ScaleGroup> ModelSpec::scale_groups() const {
  std::vector<ScaleGroup> groups;
  if (has_scalable_norms(*this)) {
    groups.push_back({ModuleRole::kInputNorm,
                      {ModuleRole::kQ, ModuleRole::kK, ModuleRole::kV},
                      Inspected::kAttention});
  }
  if (has_scalable_values(*this)) {
    groups.push_back({ModuleRole::kV, {ModuleRole::kO}, Inspected::kLayer});
  }
  if (has_scalable_norms(*this) && gate) {
    groups.push_back(
        {ModuleRole::kPostNorm, {ModuleRole::kGate, ModuleRole::kUp}, Inspected::kMlp});
  } else if (has_scalable_norms(*this)) {
    groups.push_back({ModuleRole::kPostNorm, {ModuleRole::kUp}, Inspected::kLayer});
  }
  if (has_scalable_inner_values(*this)) {
    groups.push_back({ModuleRole::kUp, {ModuleRole::kDown}, Inspected::kLayer});
  }
  return groups;
}

}  // namespace nibble
