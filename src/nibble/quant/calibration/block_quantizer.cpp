#include "nibble/quant/calibration/block_quantizer.h"

#include <algorithm>
#include <utility>

#include "nibble/core/error.h"
#include "nibble/quant/calibration/statistics.h"
#include "nibble/quant/rounders/weight_rows.h"
#include "nibble/quant/transforms/float_weights.h"

namespace nibble {

/// The layers of a block that share an input, in the order of the forward pass.
enum class BlockQuantizer::InputGroup { kQkv, kAttentionOut, kGateUp, kDown };

/// A block as it is rounded: its weights in floats, and with those replaced that are rounded so
/// far.
struct BlockQuantizer::Block {
  DecoderBlock original;
  DecoderBlock quantized;

  static std::vector<Linear*> layers(DecoderBlock& block, InputGroup group) {
    switch (group) {
      case InputGroup::kQkv:
        return {&block.attention.q, &block.attention.k, &block.attention.v};
      case InputGroup::kAttentionOut:
        return {&block.attention.o};
      case InputGroup::kGateUp:
        if (!block.mlp.gate) return {&block.mlp.up};
        return {&*block.mlp.gate, &block.mlp.up};
      case InputGroup::kDown:
        return {&block.mlp.down};
    }
    return {};
  }
};

bool BlockMethod::transforms_look_at_inputs() const {
  return std::any_of(transforms.begin(), transforms.end(),
                     [](const auto& transform) { return transform->needs_samples(); });
}

BlockQuantizer::BlockQuantizer(const Checkpoint& checkpoint, const QuantizePlan& plan,
                               const BlockMethod& method, Compute& compute, TensorWriter& writer)
    : plan_(plan),
      method_(method),
      compute_(compute),
      writer_(writer),
      loader_(checkpoint, compute, plan.options.dtype, method.activations) {}

RewrittenParameters BlockQuantizer::run(const std::vector<std::vector<std::int32_t>>& ids) {
  const ModelSpec& spec = loader_.spec();
  Embedding embedding(loader_);
  const auto begin = [&](std::optional<CalibrationStream>& stream) {
    stream.emplace(compute_, spec, CalibrationSize{std::ssize(ids), std::ssize(ids.front())},
                   method_.activations == ActivationType::kF32);
    stream->embed(embedding, ids);
  };
  if (method_.runs_quantized()) begin(quantized_);
  if (method_.runs_original()) begin(original_);
  if (spec.project_in) write_unseen(next_layer());
  for (std::int64_t layer = 0; layer < spec.n_layers; ++layer) write_block(layer);
  if (spec.project_out) write_unseen(next_layer());
  write_head(next_layer());
  if (plan_.embedding) write_unseen(*plan_.embedding);
  return std::move(rewritten_);
}

/// Whether nobody but one transform asks for the samples in the original model. It then moves them
/// on itself, through the block as it was: its own passes do, and weights that it has changed are
/// in float32.
bool BlockQuantizer::moves_on_by_transform() const {
  return method_.rounder->needs() != InputNeeds::kCross && method_.transforms.size() == 1 &&
         method_.transforms_look_at_inputs();
}

void BlockQuantizer::transform(Block& block, std::int64_t layer) {
  if (method_.transforms.empty()) return;
  const std::vector<const Linear*> linears = block.original.linears();
  for (std::size_t i = 0; i < linears.size(); ++i) {
    if (is_finite(compute_, *linears[i])) continue;
    fail("{}: tensor \"{}.weight\" holds weights that are not finite numbers",
         loader_.checkpoint().path().string(), plan_.layers[next_layer_ + i].linear.name);
  }
  for (const auto& transform : method_.transforms) {
    transform->apply({.compute = compute_,
                      .spec = loader_.spec(),
                      .plan = plan_,
                      .layer = layer,
                      .stream = original_ ? &*original_ : nullptr,
                      .moves_on = moves_on_by_transform(),
                      .block = block.original,
                      .rewritten = rewritten_});
  }
}

void BlockQuantizer::write_block(std::int64_t layer) {
  Block block{.original = load_block(loader_, layer), .quantized = {}};
  const DecoderBlock stored = view_of(block.original);
  transform(block, layer);
  block.quantized = view_of(block.original);
  for (const InputGroup group :
       {InputGroup::kQkv, InputGroup::kAttentionOut, InputGroup::kGateUp, InputGroup::kDown}) {
    write_group(block, group);
  }
  leave(block);
  for (const Linear* layer_of_block : stored.linears()) loader_.drop(*layer_of_block);
}

void BlockQuantizer::write_group(Block& block, InputGroup group) {
  const std::vector<Linear*> originals = Block::layers(block.original, group);
  const std::vector<Linear*> rounded = Block::layers(block.quantized, group);
  const std::string& name = plan_.layers[next_layer_].linear.name;
  InputStatistics statistics = move_on(block, group, originals[0]->in_features(), name);
  std::unique_ptr<RowRounder> rounder;  // only where a layer is packed
  for (std::size_t i = 0; i < originals.size(); ++i) {
    const LayerPlan& plan = next_layer();
    if (!plan.packed) continue;
    if (!rounder) rounder = method_.rounder->prepare(compute_, std::move(statistics));
    const WeightView weights = originals[i]->weight.view;
    const auto read = [&](std::int64_t first, std::int64_t count, std::span<float> out) {
      read_weight_rows(weights, first, count, out);
    };
    writer_.write_packed(plan, *rounder, read, &rounded[i]->weight);
  }
}

/// Runs all samples up to the input of a group of layers and returns what it was. The states of the
/// original model stand behind the half block then, where this group is in it; those of the
/// quantized one do so only once all of the half is rounded.
InputStatistics BlockQuantizer::move_on(const Block& block, InputGroup group, std::int64_t features,
                                        const std::string& layer) {
  StatisticsSum sum(method_.rounder->needs(), features);
  const auto input = [&](CalibrationStream& stream, const DecoderBlock& of, std::int64_t sample,
                         bool is_rounded) -> const float* {
    stream.load(sample);
    const float* seen = nullptr;
    switch (group) {
      case InputGroup::kQkv:
        return stream.attention_input(of);
      case InputGroup::kAttentionOut:
        seen = stream.run_attention(of);
        break;
      case InputGroup::kGateUp:
        if (is_rounded) {
          stream.run_attention(of);
          stream.store(sample);
        }
        return stream.mlp_input(of);
      case InputGroup::kDown:
        seen = stream.run_mlp(of);
        break;
    }
    if (!is_rounded) stream.store(sample);
    return seen;
  };
  const bool moves_original = original_ && !moves_on_by_transform();
  const std::int64_t samples = quantized_       ? quantized_->samples()
                               : moves_original ? original_->samples()
                                                : 0;
  for (std::int64_t sample = 0; sample < samples; ++sample) {
    const float* original =
        moves_original ? input(*original_, block.original, sample, false) : nullptr;
    if (!quantized_) continue;
    sum.add(compute_, input(*quantized_, block.quantized, sample, true), original,
            quantized_->tokens());
  }
  return sum.finish(layer);
}

/// Moves the states of the quantized model on to behind the block, all of which is rounded.
void BlockQuantizer::leave(const Block& block) {
  if (!quantized_) return;
  for (std::int64_t sample = 0; sample < quantized_->samples(); ++sample) {
    quantized_->load(sample);
    quantized_->run_mlp(block.quantized);
    quantized_->store(sample);
  }
}

void BlockQuantizer::write_head(const LayerPlan& layer) {
  const ModelSpec& spec = loader_.spec();
  // Behind a projection its inputs were not seen.
  if (!layer.packed || spec.project_out || !quantized_) return write_unseen(layer);
  std::optional<Norm> norm;
  if (!spec.final_norm.empty()) norm = loader_.norm(spec.final_norm, spec.hidden);
  const Norm* final_norm = norm ? &*norm : nullptr;
  StatisticsSum sum(method_.rounder->needs(), spec.hidden);
  for (std::int64_t sample = 0; sample < quantized_->samples(); ++sample) {
    const float* original = nullptr;
    if (original_) {
      original_->load(sample);
      original = original_->head_input(final_norm);
    }
    quantized_->load(sample);
    sum.add(compute_, quantized_->head_input(final_norm), original, quantized_->tokens());
  }
  const auto rounder = method_.rounder->prepare(compute_, sum.finish(layer.linear.name));
  writer_.write_packed(layer, *rounder);
}

/// A layer outside the blocks whose inputs are not collected: as per group.
void BlockQuantizer::write_unseen(const LayerPlan& layer) {
  if (!layer.packed) return;
  const auto rounder = make_per_group_rounder()->prepare(compute_, {});
  writer_.write_packed(layer, *rounder);
}

}  // namespace nibble
