#include "nibble/quant/transforms/trial_block.h"

#include "nibble/quant/per_group.h"
#include "nibble/quant/rounders/weight_rows.h"
#include "nibble/quant/transforms/float_weights.h"

namespace nibble {

const LayerPlan& plan_of(const TransformContext& context, ModuleRole role) {
  return context.plan.layer(context.spec.block_module(role, context.layer));
}

RoundedLayer::RoundedLayer(const LayerPlan& plan, const Linear& layer)
    : weights_(layer.weight.view),
      group_size_(plan.layout.group_size),
      bits_(codec_of(plan.layout.format).bits) {}

void RoundedLayer::read(std::int64_t first, std::int64_t count, std::span<float> out) const {
  read_weight_rows(weights_, first, count, out);
}

void RoundedLayer::round(const std::vector<float>& scales, std::span<float> rows) const {
  const std::size_t cols = scales.size();
  for (std::size_t row = 0; row < rows.size(); row += cols) {
    for (std::size_t c = 0; c < cols; ++c) rows[row + c] *= scales[c];
  }
  simulate_groups(rows, group_size_, bits_);
  for (std::size_t row = 0; row < rows.size(); row += cols) {
    for (std::size_t c = 0; c < cols; ++c) rows[row + c] /= scales[c];
  }
}

TrialBlock::TrialBlock(const TransformContext& context, const ScaleGroup& group)
    : compute_(context.compute), block_(view_of(context.block)) {
  for (const ModuleRole role : group.layers) {
    Linear& layer = *block_.linear(role);
    rounded_.emplace_back(plan_of(context, role), layer);
    layer.weight = float_weight(layer);
    layers_.push_back(&layer);
  }
}

void TrialBlock::set(const std::vector<float>& scales) {
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const RoundedLayer& rounded = rounded_[i];
    const std::span<float> elements = elements_of(layers_[i]->weight);
    const auto cols = static_cast<std::size_t>(rounded.cols());
    for_each_rows(compute_, rounded.rows(), [&](std::int64_t first, std::int64_t count, int) {
      const std::span<float> rows = elements.subspan(static_cast<std::size_t>(first) * cols,
                                                     static_cast<std::size_t>(count) * cols);
      rounded.read(first, count, rows);
      rounded.round(scales, rows);
    });
  }
}

}  // namespace nibble
