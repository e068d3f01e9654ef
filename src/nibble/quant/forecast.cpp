#include "nibble/quant/forecast.h"

#include <utility>

#include "nibble/models/token_cost.h"
#include "nibble/weights/weight_codec.h"

namespace nibble {
namespace {

StoredParameter packed_parameter(Parameter&& parameter, const WeightLayout& layout) {
  StoredParameter stored{std::move(parameter)};
  stored.format = codec_of(layout.format).name;
  stored.group_size = layout.group_size;
  stored.bytes = weight_bytes(layout);
  stored.is_quantized = true;
  return stored;
}

StoredParameter dense_parameter(Parameter&& parameter, DType dtype) {
  StoredParameter stored{std::move(parameter)};
  stored.format = dtype_name(dtype);
  stored.bytes = stored.count() * dtype_layout(dtype).bytes;
  return stored;
}

std::vector<StoredParameter> planned_parameters(const ModelSpec& spec, const QuantizePlan& plan) {
  const PackedLayouts packed = plan.packed_layouts();
  std::vector<StoredParameter> all;
  for (Parameter& parameter : parameters_of(spec)) {
    const auto layout = packed.find(parameter.module.name);
    if (layout != packed.end() && !parameter.is_bias) {
      all.push_back(packed_parameter(std::move(parameter), layout->second));
    } else if (!parameter.is_tied) {
      all.push_back(dense_parameter(std::move(parameter), plan.options.dtype));
    }
  }
  return all;
}

}  // namespace

double bits_per_weight(const ModelSpec& spec, const QuantizePlan& plan) {
  std::vector<LinearCost> costs;
  for (const LayerPlan& layer : plan.layers) {
    const auto layout = layer.packed ? std::optional(layer.layout) : std::nullopt;
    costs.push_back(linear_cost(layer.linear, layout, plan.options.dtype));
  }
  return token_cost(spec, costs).bits_per_weight();
}

QuantizeForecast forecast_quantization(const Checkpoint& checkpoint, const QuantizePlan& plan) {
  const ModelSpec& spec = checkpoint.spec();
  QuantizeForecast forecast{.tensors = planned_parameters(spec, plan)};
  for (const StoredParameter& tensor : stored_parameters(checkpoint)) {
    forecast.bytes_in += tensor.bytes;
  }
  for (const StoredParameter& tensor : forecast.tensors) forecast.bytes_out += tensor.bytes;
  forecast.bits_per_weight = bits_per_weight(spec, plan);
  forecast.file_bits_per_parameter =
      8.0 * static_cast<double>(forecast.bytes_out) / static_cast<double>(parameter_count(spec));
  return forecast;
}

}  // namespace nibble
