#include "nibble/quant/model_folder.h"

#include <nlohmann/json.hpp>

#include "nibble/core/output.h"
#include "nibble/models/companions.h"
#include "nibble/models/quantization_config.h"

namespace nibble {
namespace fs = std::filesystem;

std::vector<ParameterSpec> dense_tensors(const ModelSpec& spec, const QuantizePlan& plan) {
  std::vector<ParameterSpec> tensors = spec.embeddings();
  for (const LayerPlan& layer : plan.layers) {
    const LinearSpec& linear = layer.linear;
    const bool is_tied_head = spec.tied_head && linear.name == spec.head.name;
    if (!layer.packed && !is_tied_head) {
      tensors.push_back({linear.name + ".weight", {linear.out, linear.in}});
    }
    if (linear.bias) tensors.push_back({linear.name + ".bias", {linear.out}});
  }
  for (ParameterSpec& parameter : spec.norm_parameters()) tensors.push_back(std::move(parameter));
  return tensors;
}

std::vector<TensorDeclaration> declarations(const ModelSpec& spec, const QuantizePlan& plan) {
  std::vector<TensorDeclaration> all;
  for (const LayerPlan& layer : plan.layers) {
    if (!layer.packed) continue;
    for (PackedPart& part : packed_parts(layer.layout)) {
      all.push_back({layer.linear.name + part.suffix, part.dtype, std::move(part.shape)});
    }
  }
  for (ParameterSpec& tensor : dense_tensors(spec, plan)) {
    all.push_back({std::move(tensor.name), plan.options.dtype, std::move(tensor.shape)});
  }
  return all;
}

std::int64_t parameter_count(const ModelSpec& spec) {
  std::int64_t count = 0;
  for (const auto& parameters : {spec.embeddings(), spec.norm_parameters()}) {
    for (const ParameterSpec& parameter : parameters) {
      count += TensorView{.shape = parameter.shape}.elements();
    }
  }
  for (const LinearSpec& linear : spec.linears()) {
    const bool is_tied_head = spec.tied_head && linear.name == spec.head.name;
    count += (is_tied_head ? 0 : linear.out * linear.in) + (linear.bias ? linear.out : 0);
  }
  return count;
}

void write_config(const Json& source_config, const QuantizePlan& plan, const std::string& algorithm,
                  const fs::path& folder) {
  Json config = source_config;
  config.erase("dtype");
  config.erase("quantization_config");
  config["torch_dtype"] = torch_dtype_name(plan.options.dtype);
  const PackedLayouts layouts = plan.packed_layouts();
  if (!layouts.empty())
    config["quantization_config"] = make_quantization_config(layouts, algorithm);
  OutputFile file(folder / "config.json");
  file.write(json_text(config) + "\n");
  file.commit();
}

}  // namespace nibble
