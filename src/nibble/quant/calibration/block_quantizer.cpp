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

/// A block on its way: as the checkpoint has it, transformed, and with those weights replaced that
/// are rounded so far. Each has the weights of the one before that are not its own.
struct BlockQuantizer::Block {
  std::int64_t number;
  DecoderBlock stored;
  DecoderBlock original;
  DecoderBlock quantized;
  bool is_written;  // before this resumed

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

/// Whether nobody but one transform asks for the samples in the original model. It then moves them
/// on itself, as its own passes go through the block as it was in any case.
bool BlockQuantizer::moves_on_by_transform() const {
  return method_.rounder->needs() != InputNeeds::kCross && method_.transforms.size() == 1 &&
         method_.transforms_look_at_inputs();
}

void BlockQuantizer::begin(const std::vector<std::vector<std::int32_t>>& ids,
                           ActivationSpace& space) {
  samples_ = std::ssize(ids);
  const bool is_exact = method_.activations == ActivationType::kF32;
  Embedding embedding(loader_);
  const auto start = [&](std::optional<CalibrationStream>& stream) {
    stream.emplace(compute_, loader_.spec(), CalibrationSize{samples_, std::ssize(ids.front())},
                   is_exact, space);
    stream->embed(embedding, ids);
  };
  if (method_.runs_original()) start(original_);
  if (!method_.runs_quantized()) return;
  start(quantized_);
  const ModelSpec& spec = loader_.spec();
  between_.emplace(
      ActivationShape{samples_, quantized_->tokens(), std::max(spec.o.in, spec.down.in), is_exact},
      space);
}

void BlockQuantizer::run(const std::vector<std::vector<std::int32_t>>& ids,
                         ActivationSpace& space) {
  const ModelSpec& spec = loader_.spec();
  begin(ids, space);
  if (spec.project_in) write_unseen(next_layer());
  for (std::int64_t number = 0; number < spec.n_layers; ++number) write_block(number);
  if (spec.project_out) write_unseen(next_layer());
  write_head(next_layer());
  if (plan_.embedding) write_unseen(*plan_.embedding);
}

/// Whether all of them that are packed are there, and any is.
bool BlockQuantizer::is_written(std::span<const LayerPlan> layers) const {
  std::ptrdiff_t packed = 0;
  std::ptrdiff_t written = 0;
  for (const LayerPlan& layer : layers) {
    if (!layer.packed) continue;
    ++packed;
    if (writer_.is_written(layer)) ++written;
  }
  return packed > 0 && written == packed;
}

void BlockQuantizer::transform(Block& block) {
  if (method_.transforms.empty() || block.is_written) return;
  const std::vector<const Linear*> linears = block.original.linears();
  for (std::size_t i = 0; i < linears.size(); ++i) {
    if (is_finite(compute_, *linears[i])) continue;
    fail("{}: tensor \"{}.weight\" holds weights that are not finite numbers",
         loader_.checkpoint().path().string(), plan_.layers[next_layer_ + i].linear.name);
  }
  RewrittenParameters rewritten;
  for (const auto& transform : method_.transforms) {
    transform->apply({.compute = compute_,
                      .spec = loader_.spec(),
                      .plan = plan_,
                      .layer = block.number,
                      .stream = original_ ? &*original_ : nullptr,
                      .moves_on = moves_on_by_transform(),
                      .block = block.original,
                      .rewritten = rewritten});
  }
  writer_.write_rewritten(rewritten);
}

void BlockQuantizer::write_block(std::int64_t number) {
  Block block{.number = number,
              .stored = load_block(loader_, number),
              .original = {},
              .quantized = {},
              .is_written = false};
  const std::size_t n_layers = block.stored.linears().size();
  block.is_written = is_written(std::span(plan_.layers).subspan(next_layer_, n_layers));
  block.original = view_of(block.stored);
  transform(block);
  block.quantized = view_of(block.original);
  writer_.replace_written(number, block.quantized);
  for (const InputGroup group :
       {InputGroup::kQkv, InputGroup::kAttentionOut, InputGroup::kGateUp, InputGroup::kDown}) {
    write_group(block, group);
  }
  leave(block);
  if (!block.is_written) writer_.record();
  for (const Linear* layer : block.stored.linears()) loader_.drop(*layer);
}

void BlockQuantizer::write_group(Block& block, InputGroup group) {
  const std::vector<Linear*> originals = Block::layers(block.original, group);
  const std::vector<Linear*> rounded = Block::layers(block.quantized, group);
  const auto layers = std::span(plan_.layers).subspan(next_layer_, originals.size());
  next_layer_ += originals.size();
  const bool rounds =
      !block.is_written && std::any_of(layers.begin(), layers.end(),
                                       [](const LayerPlan& layer) { return layer.packed; });
  StatisticsSum sum(rounds ? method_.rounder->needs() : InputNeeds::kNothing,
                    originals.front()->in_features());
  run_samples(block, group, sum);
  InputStatistics statistics = sum.finish(layers.front().linear.name);
  const std::unique_ptr<RowRounder> rounder =
      rounds ? method_.rounder->prepare(compute_, std::move(statistics)) : nullptr;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (!layers[i].packed) continue;
    if (block.is_written) {
      writer_.skip(layers[i]);
      if (quantized_) rounded[i]->weight = writer_.written(layers[i]);
      continue;
    }
    const WeightView weights = originals[i]->weight.view;
    const auto read = [&](std::int64_t first, std::int64_t count, std::span<float> out) {
      read_weight_rows(weights, first, count, out);
    };
    writer_.write_packed(layers[i], *rounder, read, quantized_ ? &rounded[i]->weight : nullptr);
  }
}

/// Runs all samples up to the input of a group of layers, and adds it to the sum.
void BlockQuantizer::run_samples(const Block& block, InputGroup group, StatisticsSum& sum) {
  for (std::int64_t sample = 0; sample < samples_; ++sample) {
    const float* original = move_original(block, group, sample);
    const float* quantized = move_quantized(block, group, sample);
    if (quantized != nullptr) sum.add(compute_, quantized, original, quantized_->tokens());
  }
}

/// What a group gets for a sample in the model that is not quantized; null if nobody asks. Its
/// states stand behind the half block then, where the group is in it; but with transforms they stay
/// where they are, as it is the stored block that moves them on (leave()).
const float* BlockQuantizer::move_original(const Block& block, InputGroup group,
                                           std::int64_t sample) {
  if (!original_) return nullptr;
  const bool moves = method_.transforms.empty();
  const bool is_asked = method_.rounder->needs() == InputNeeds::kCross && !block.is_written;
  if (!moves && !is_asked) return nullptr;
  original_->load(sample);
  if (group == InputGroup::kQkv) return original_->attention_input(block.original);
  if (group == InputGroup::kAttentionOut || !moves) {
    const float* seen = original_->run_attention(block.original);
    if (moves) original_->store(sample);
    if (group == InputGroup::kAttentionOut) return seen;
  }
  if (group == InputGroup::kGateUp) return original_->mlp_input(block.original);
  const float* seen = original_->run_mlp(block.original);
  if (moves) original_->store(sample);
  return seen;
}

/// The same in the quantized model. What a layer gets that ends a half block is kept until it is
/// rounded: then the states are moved on, and no layer is run twice.
const float* BlockQuantizer::move_quantized(const Block& block, InputGroup group,
                                            std::int64_t sample) {
  if (!quantized_) return nullptr;
  CalibrationStream& stream = *quantized_;
  stream.load(sample);
  const float* seen = nullptr;
  switch (group) {
    case InputGroup::kQkv:
      return stream.attention_input(block.quantized);
    case InputGroup::kAttentionOut:
      seen = stream.attended(block.quantized);
      between_->set_width(block.quantized.attention.o.in_features());
      break;
    case InputGroup::kGateUp:
      stream.add_attention(block.quantized, kept(sample));
      stream.store(sample);
      return stream.mlp_input(block.quantized);
    case InputGroup::kDown:
      seen = stream.mlp_inner(block.quantized);
      between_->set_width(block.quantized.mlp.down.in_features());
      break;
  }
  between_->store(compute_, sample, seen);
  return seen;
}

const float* BlockQuantizer::kept(std::int64_t sample) {
  auto* row = kept_.as<float>(static_cast<std::size_t>(between_->tokens() * between_->width()));
  between_->load(compute_, sample, row);
  return row;
}

/// Moves the states on to behind the block, all of which is rounded, where nothing else has.
void BlockQuantizer::leave(const Block& block) {
  for (std::int64_t sample = 0; quantized_ && sample < samples_; ++sample) {
    quantized_->load(sample);
    quantized_->add_mlp(block.quantized, kept(sample));
    quantized_->store(sample);
  }
  const bool stands =
      original_ && !method_.transforms.empty() && (block.is_written || !moves_on_by_transform());
  for (std::int64_t sample = 0; stands && sample < samples_; ++sample) {
    original_->load(sample);
    original_->run_attention(block.stored);
    original_->store(sample);  // rounded here, as where a transform moves it on
    original_->load(sample);
    original_->run_mlp(block.stored);
    original_->store(sample);
  }
}

void BlockQuantizer::write_head(const LayerPlan& layer) {
  const ModelSpec& spec = loader_.spec();
  // Behind a projection its inputs were not seen.
  if (!layer.packed || spec.project_out || !quantized_) return write_unseen(layer);
  if (writer_.is_written(layer)) return writer_.skip(layer);
  std::optional<Norm> norm;
  if (!spec.final_norm.empty()) norm = loader_.norm(spec.final_norm, spec.hidden);
  const Norm* final_norm = norm ? &*norm : nullptr;
  StatisticsSum sum(method_.rounder->needs(), spec.hidden);
  for (std::int64_t sample = 0; sample < samples_; ++sample) {
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
