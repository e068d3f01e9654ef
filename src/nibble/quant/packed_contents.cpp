#include "nibble/quant/packed_contents.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "nibble/models/quantization_config.h"
#include "nibble/weights/dense.h"
#include "nibble/weights/weight_codec.h"

namespace nibble {
namespace {

std::vector<TensorDeclaration> declarations(const ModelSpec& spec, const QuantizePlan& plan) {
  std::vector<TensorDeclaration> all;
  for (const LayerPlan* layer : plan.packed()) {
    for (const PartLayout& part : codec_of(layer->layout.format).parts(layer->layout)) {
      all.push_back(
          {layer->module + part.suffix, part.dtype, part.tensor_shape(block_count(layer->layout))});
    }
  }
  for (Parameter& parameter : dense_parameters(spec, plan)) {
    all.push_back({std::move(parameter.name), plan.options.dtype, std::move(parameter.shape)});
  }
  return all;
}

}  // namespace

std::vector<Parameter> dense_parameters(const ModelSpec& spec, const QuantizePlan& plan) {
  const PackedLayouts packed = plan.packed_layouts();
  std::vector<Parameter> parameters = parameters_of(spec);
  std::erase_if(parameters, [&](const Parameter& parameter) {
    return parameter.is_tied || (!parameter.is_bias && packed.contains(parameter.module.name));
  });
  std::stable_sort(
      parameters.begin(), parameters.end(),
      [](const Parameter& a, const Parameter& b) { return a.module.kind < b.module.kind; });
  return parameters;
}

FolderContents packed_contents(const Json& source_config, const ModelSpec& spec,
                               const QuantizePlan& plan, const std::string& algorithm) {
  Json config = source_config;
  config.erase("dtype");
  config.erase("quantization_config");
  config["torch_dtype"] = torch_dtype_name(plan.options.dtype);
  const PackedLayouts layouts = plan.packed_layouts();
  if (!layouts.empty()) {
    config["quantization_config"] =
        make_quantization_config(layouts, plan.layer_activations(), algorithm);
  }
  return {.config = json_text(config) + "\n",
          .tensors = declarations(spec, plan),
          .metadata = {{"format", "pt"}, {"writer", "nibble"}}};
}

}  // namespace nibble
