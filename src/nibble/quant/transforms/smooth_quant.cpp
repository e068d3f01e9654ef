#include "nibble/quant/transforms/smooth_quant.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "nibble/core/error.h"
#include "nibble/formats/safetensors.h"
#include "nibble/formats/safetensors_writer.h"
#include "nibble/formats/torch_bin.h"
#include "nibble/models/tensor_source.h"
#include "nibble/quant/transforms/block_samples.h"
#include "nibble/quant/transforms/float_weights.h"
#include "nibble/quant/transforms/fold_scales.h"
#include "nibble/quant/transforms/input_summary.h"

namespace nibble {
namespace {

constexpr float kLeast = 1e-5F;

/// The groups behind norms.
std::vector<ScaleGroup> smoothed_groups(const TransformContext& context) {
  std::vector<ScaleGroup> groups = scalable_groups(context.spec, context.plan, context.layer);
  std::erase_if(
      groups, [&](const ScaleGroup& group) { return context.block.norm(group.before) == nullptr; });
  return groups;
}

std::vector<float> smooth_scales(const std::vector<float>& activations,
                                 const std::vector<float>& weights, float alpha) {
  std::vector<float> scales;
  for (std::size_t i = 0; i < activations.size(); ++i) {
    const float weight = std::max(weights[i], kLeast);
    scales.push_back(
        std::max(std::pow(activations[i], alpha) / std::pow(weight, 1 - alpha), kLeast));
  }
  return scales;
}

/// The largest magnitude in each column of the group's layers.
std::vector<float> weight_maxima(const TransformContext& context, const ScaleGroup& group) {
  InputMagnitudes magnitudes(context.spec.block_linear(group.layers.front())->in);
  std::string name;
  for (const ModuleRole role : group.layers) {
    name = context.spec.block_module(role, context.layer);
    Linear& layer = *context.block.linear(role);
    magnitudes.add(context.compute, own_floats(context.compute, layer).data(),
                   layer.out_features());
  }
  return magnitudes.maxima(name);
}

void smooth(const TransformContext& context, const ActivationMaxima& maxima, float alpha,
            const std::string& origin) {
  for (const ScaleGroup& group : smoothed_groups(context)) {
    const std::string name = context.spec.block_module(group.layers.front(), context.layer);
    const auto found = maxima.find(name);
    if (found == maxima.end()) fail("{}: no maxima of the inputs of \"{}\"", origin, name);
    const std::int64_t inputs = context.spec.block_linear(group.layers.front())->in;
    if (std::ssize(found->second) != inputs) {
      fail("{}: {} maxima of the inputs of \"{}\", expected {}", origin, found->second.size(), name,
           inputs);
    }
    fold_scales(context, group, smooth_scales(found->second, weight_maxima(context, group), alpha));
  }
}

/// Runs all samples through the block and notes the maxima of what goes into its groups.
void collect(const TransformContext& context, ActivationMaxima& maxima) {
  BlockSamples samples(context);
  InputMagnitudes attention(context.spec.hidden);
  InputMagnitudes mlp(context.spec.hidden);
  for (std::int64_t sample = 0; sample < samples.count(); ++sample) {
    attention.add(context.compute, samples.attention_input(sample), samples.tokens());
    if (context.moves_on) samples.attention_out_input(sample);
  }
  for (std::int64_t sample = 0; sample < samples.count(); ++sample) {
    mlp.add(context.compute, samples.mlp_input(sample), samples.tokens());
    if (context.moves_on) samples.down_input(sample);
  }
  for (const ScaleGroup& group : smoothed_groups(context)) {
    const InputMagnitudes& seen = group.before == ModuleRole::kInputNorm ? attention : mlp;
    for (const ModuleRole role : group.layers) {
      const std::string name = context.spec.block_module(role, context.layer);
      maxima[name] = seen.maxima(name);
    }
  }
}

class SmoothQuant : public Transform {
 public:
  SmoothQuant(float alpha, std::shared_ptr<ActivationMaxima> found,
              std::shared_ptr<const ActivationMaxima> maxima, std::string origin)
      : alpha_(alpha),
        found_(std::move(found)),
        maxima_(std::move(maxima)),
        origin_(std::move(origin)) {}

  bool needs_samples() const override { return found_ != nullptr; }
  void apply(const TransformContext& context) const override {
    if (found_) collect(context, *found_);
    smooth(context, *maxima_, alpha_, origin_);
  }

 private:
  float alpha_;
  std::shared_ptr<ActivationMaxima> found_;  // null if they are known
  std::shared_ptr<const ActivationMaxima> maxima_;
  std::string origin_;
};

}  // namespace

std::shared_ptr<const Transform> make_smooth_quant(float alpha,
                                                   std::shared_ptr<ActivationMaxima> found) {
  return std::make_shared<SmoothQuant>(alpha, found, found, "SmoothQuant");
}

std::shared_ptr<const Transform> make_smooth_quant(float alpha,
                                                   std::shared_ptr<const ActivationMaxima> maxima,
                                                   std::string origin) {
  return std::make_shared<SmoothQuant>(alpha, nullptr, std::move(maxima), std::move(origin));
}

namespace {

template <typename File>
ActivationMaxima read_vectors(const std::filesystem::path& path) {
  const File file(path);
  ActivationMaxima maxima;
  for (const std::string& name : file.names()) {
    const TensorView& view = file.get(name);
    const bool is_vector =
        view.shape.size() == 1 && view.elements() > 0 &&
        (view.dtype == DType::kF32 || view.dtype == DType::kF16 || view.dtype == DType::kBF16);
    if (!is_vector) {
      fail(
          "{}: \"{}\" is no vector of floats but of shape {}, so not the maxima of a layer's "
          "inputs",
          path.string(), name, shape_to_string(view.shape));
    }
    std::vector<float> values(static_cast<std::size_t>(view.elements()));
    read_vector({.name = name, .view = view}, values);
    for (const float value : values) {
      if (!std::isfinite(value) || value < 0) {
        fail("{}: a maximum of \"{}\" is no number of 0 or more", path.string(), name);
      }
    }
    maxima.emplace(name, std::move(values));
  }
  return maxima;
}

}  // namespace

ActivationMaxima read_activation_maxima(const std::filesystem::path& path) {
  return is_of_torch(path) ? read_vectors<TorchBinFile>(path) : read_vectors<SafetensorsFile>(path);
}

void write_activation_maxima(const std::filesystem::path& path, const ActivationMaxima& maxima) {
  std::vector<TensorDeclaration> declarations;
  for (const auto& [name, values] : maxima) {
    declarations.push_back({name, DType::kF32, {std::ssize(values)}});
  }
  SafetensorsWriter writer(path, declarations);
  for (const auto& [name, values] : maxima) {
    writer.append(name, std::as_bytes(std::span(values)));
  }
  writer.commit();
}

}  // namespace nibble
