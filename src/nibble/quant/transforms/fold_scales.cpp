#include "nibble/quant/transforms/fold_scales.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <utility>

#include "nibble/quant/transforms/float_weights.h"
#include "nibble/weights/dense.h"

namespace nibble {
namespace {

float rounded(DType dtype, float value) {
  round_to_dtype(dtype, {&value, 1});
  return value;
}

/// The number of `dtype` next to `wanted` that `offset` can be added to without giving 0.
float stored_weight(DType dtype, float wanted, float offset) {
  float stored = rounded(dtype, wanted);
  const float sum = wanted + offset;
  for (float step = 0x1p-40F; stored + offset == 0 && sum != 0; step *= 2) {
    stored = rounded(dtype, std::copysign(step, sum) - offset);
  }
  return stored;
}

class Folding {
 public:
  Folding(const TransformContext& context, const ScaleGroup& group, std::vector<float> scales)
      : context_(context), group_(group), scales_(std::move(scales)) {}

  std::vector<float> run() {
    if (Norm* norm = context_.block.norm(group_.before)) {
      divide(*norm);
    } else {
      divide(*context_.block.linear(group_.before));
    }
    for (const ModuleRole role : group_.layers) multiply(role);
    return std::move(scales_);
  }

 private:
  std::string name(ModuleRole role) const {
    return context_.spec.block_module(role, context_.layer);
  }
  DType dtype() const { return context_.plan.options.dtype; }

  void divide_bias(std::vector<float>& bias, const std::string& parameter) const {
    if (bias.empty()) return;
    assert(bias.size() == scales_.size());
    for (std::size_t i = 0; i < bias.size(); ++i) bias[i] /= scales_[i];
    context_.rewritten[parameter] = bias;
  }

  void divide(Norm& norm) {
    assert(norm.weight.size() == scales_.size());
    const float offset = context_.spec.norm.weight_offset;
    std::vector<float> stored(scales_.size());
    for (std::size_t i = 0; i < scales_.size(); ++i) {
      const float divided = norm.weight[i] / scales_[i];
      stored[i] = divided - offset;
      if (offset != 0) {
        stored[i] = stored_weight(dtype(), stored[i], offset);
        if (divided != 0) scales_[i] = norm.weight[i] / (stored[i] + offset);
        norm.weight[i] = stored[i] + offset;
      } else {
        norm.weight[i] = divided;
      }
    }
    context_.rewritten[name(group_.before) + ".weight"] = std::move(stored);
    if (context_.spec.norm.has_bias) divide_bias(norm.bias, name(group_.before) + ".bias");
  }

  void divide(Linear& layer) const {
    const std::span<float> weights = own_floats(context_.compute, layer);
    const std::int64_t cols = layer.in_features();
    for_each_rows(context_.compute, layer.out_features(),
                  [&](std::int64_t first, std::int64_t count, int) {
                    for (std::int64_t r = first; r < first + count; ++r) {
                      const float scale = scales_[static_cast<std::size_t>(r)];
                      float* row = weights.data() + r * cols;
                      for (std::int64_t c = 0; c < cols; ++c) row[c] /= scale;
                    }
                  });
    divide_bias(layer.bias, name(group_.before) + ".bias");
  }

  void multiply(ModuleRole role) const {
    Linear& layer = *context_.block.linear(role);
    const std::span<float> weights = own_floats(context_.compute, layer);
    const std::int64_t cols = layer.in_features();
    assert(std::ssize(scales_) == cols);
    for_each_rows(context_.compute, layer.out_features(),
                  [&](std::int64_t first, std::int64_t count, int) {
                    for (std::int64_t r = first; r < first + count; ++r) {
                      float* row = weights.data() + r * cols;
                      for (std::int64_t c = 0; c < cols; ++c) {
                        row[c] *= scales_[static_cast<std::size_t>(c)];
                      }
                    }
                  });
  }

  const TransformContext& context_;
  const ScaleGroup& group_;
  std::vector<float> scales_;
};

}  // namespace

bool is_scalable(const ModelSpec& spec, const QuantizePlan& plan, const ScaleGroup& group,
                 std::int64_t layer) {
  const auto stays = [&](ModuleRole role) {
    return spec.block_linear(role) != nullptr && !plan.layer(spec.block_module(role, layer)).packed;
  };
  return !stays(group.before) && std::none_of(group.layers.begin(), group.layers.end(), stays);
}

std::vector<ScaleGroup> scalable_groups(const ModelSpec& spec, const QuantizePlan& plan,
                                        std::int64_t layer) {
  std::vector<ScaleGroup> groups = spec.scale_groups();
  std::erase_if(groups,
                [&](const ScaleGroup& group) { return !is_scalable(spec, plan, group, layer); });
  return groups;
}

std::vector<float> fold_scales(const TransformContext& context, const ScaleGroup& group,
                               std::vector<float> scales) {
  return Folding(context, group, std::move(scales)).run();
}

}  // namespace nibble
