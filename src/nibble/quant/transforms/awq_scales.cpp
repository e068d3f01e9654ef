#include "nibble/quant/transforms/awq_scales.h"

#include <algorithm>
#include <cmath>

#include "nibble/core/error.h"
#include "nibble/core/log.h"
#include "nibble/quant/per_group.h"
#include "nibble/quant/rounders/weight_rows.h"
#include "nibble/quant/transforms/float_weights.h"
#include "nibble/quant/transforms/race.h"

namespace nibble {
namespace {

constexpr int kRatios = 20;

double ratio_of(std::size_t candidate) {
  return static_cast<double>(candidate) / kRatios;
}

/// The layers of a group as rounding leaves them under scales, Q(W s) / s.
class RoundedLayer {
 public:
  RoundedLayer(const LayerPlan& plan, const Linear& layer)
      : weights_(layer.weight.view),
        group_size_(plan.layout.group_size),
        bits_(codec_of(plan.layout.format).bits) {}

  std::int64_t rows() const { return weights_.rows; }
  std::int64_t cols() const { return weights_.cols; }
  /// Some rows as they are. out: (count, cols).
  void read(std::int64_t first, std::int64_t count, std::span<float> out) const {
    read_weight_rows(weights_, first, count, out);
  }
  /// The same rows in place.
  void round(const std::vector<float>& scales, std::span<float> rows) const {
    const auto cols = scales.size();
    for (std::size_t row = 0; row < rows.size(); row += cols) {
      for (std::size_t c = 0; c < cols; ++c) rows[row + c] *= scales[c];
    }
    simulate_groups(rows, group_size_, bits_);
    for (std::size_t row = 0; row < rows.size(); row += cols) {
      for (std::size_t c = 0; c < cols; ++c) rows[row + c] /= scales[c];
    }
  }

 private:
  WeightView weights_;
  int group_size_;
  int bits_;
};

const LayerPlan& plan_of(const TransformContext& context, ModuleRole role) {
  return context.plan.layer(context.spec.block_module(role, context.layer));
}

/// The block with rounded weights in the layers of a group.
class TrialBlock {
 public:
  TrialBlock(const TransformContext& context, const ScaleGroup& group)
      : compute_(context.compute), block_(view_of(context.block)) {
    for (const ModuleRole role : group.layers) {
      Linear& layer = *block_.linear(role);
      rounded_.emplace_back(plan_of(context, role), layer);
      layer.weight = float_weight(layer);
      layers_.push_back(&layer);
    }
  }
  TrialBlock(const TrialBlock&) = delete;
  TrialBlock& operator=(const TrialBlock&) = delete;

  const DecoderBlock& block() const { return block_; }

  void set(const std::vector<float>& scales) {
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      const std::span<float> elements = elements_of(layers_[i]->weight);
      const auto cols = static_cast<std::size_t>(rounded_[i].cols());
      for_each_rows(compute_, rounded_[i].rows(), [&](std::int64_t first, std::int64_t count, int) {
        const std::span<float> rows = elements.subspan(static_cast<std::size_t>(first) * cols,
                                                       static_cast<std::size_t>(count) * cols);
        rounded_[i].read(first, count, rows);
        rounded_[i].round(scales, rows);
      });
    }
  }

 private:
  Compute& compute_;
  DecoderBlock block_;
  std::vector<RoundedLayer> rounded_;
  std::vector<Linear*> layers_;
};

/// Tokens of a sample that losses are taken of together: all, or a piece of it.
struct Piece {
  std::int64_t sample;
  std::int64_t first;
};

/// Runs pieces of the samples through the module that is inspected.
class Inspection {
 public:
  Inspection(const TransformContext& context, ScaleGroup::Inspected inspected,
             BlockSamples& samples)
      : compute_(context.compute),
        samples_(samples),
        width_(context.spec.hidden),
        is_attention_(inspected == ScaleGroup::Inspected::kAttention) {
    // The MLP takes tokens by themselves, so that pieces of many samples tell more than the same
    // number of tokens of a few.
    constexpr std::int64_t kPiece = 64;
    const bool cuts = !is_attention_ && context.moves_on && samples.tokens() % kPiece == 0;
    piece_ = cuts ? kPiece : samples.tokens();
  }

  std::int64_t piece_tokens() const { return piece_; }

  /// All of them, those that follow each other being of different samples.
  std::vector<Piece> pieces() const {
    const std::int64_t cuts = samples_.tokens() / piece_;
    std::vector<Piece> all;
    for (std::int64_t i = 0; i < cuts; ++i) {
      for (std::int64_t sample = 0; sample < samples_.count(); ++sample) {
        all.push_back({sample, (i + sample) % cuts * piece_});
      }
    }
    return all;
  }

  /// Takes up some pieces: `block` says what their outputs should be.
  void begin(const DecoderBlock& block, std::span<const Piece> pieces) {
    count_ = std::ssize(pieces);
    const auto elements = static_cast<std::size_t>(count_ * piece_ * width_);
    float* x = inputs_.as<float>(elements);
    for (const Piece& piece : pieces) {
      const float* all =
          is_attention_ ? samples_.attention_input(piece.sample) : samples_.mlp_input(piece.sample);
      x = std::copy_n(all + piece.first * width_, piece_ * width_, x);
    }
    run(block, expected_.as<float>(elements));
  }

  /// The mean squared error of each piece's outputs.
  std::vector<double> losses(const DecoderBlock& block) {
    const std::int64_t size = piece_ * width_;
    float* outputs = outputs_.as<float>(static_cast<std::size_t>(count_ * size));
    run(block, outputs);
    std::vector<double> losses(static_cast<std::size_t>(count_));
    compute_.pool().parallel_for(count_, [&](std::int64_t i, int) {
      const float* expected = expected_.as<float>(0) + i * size;
      double sum = 0;
      for (std::int64_t at = 0; at < size; ++at) {
        const double off = static_cast<double>(outputs[i * size + at]) - expected[at];
        sum += off * off;
      }
      losses[static_cast<std::size_t>(i)] = sum / static_cast<double>(size);
    });
    return losses;
  }

 private:
  void run(const DecoderBlock& block, float* out) {
    const std::int64_t size = piece_ * width_;
    const float* x = inputs_.as<float>(0);
    std::fill_n(out, count_ * size, 0.0F);
    // So many pieces that the inner values stay in a cache.
    const std::int64_t at_once =
        is_attention_ ? 1 : std::max<std::int64_t>(1, kInnerTokens / piece_);
    for (std::int64_t i = 0; i < count_; i += at_once) {
      const MatmulInput input{.x = x + i * size, .tokens = std::min(at_once, count_ - i) * piece_};
      if (is_attention_) {
        block.attention.add_to(compute_, input, samples_.pass(), 0, out + i * size);
      } else {
        block.mlp.add_to(compute_, input, samples_.pass().scratch(), out + i * size);
      }
    }
  }

  static constexpr std::int64_t kInnerTokens = 512;

  Compute& compute_;
  BlockSamples& samples_;
  std::int64_t width_;
  bool is_attention_;
  std::int64_t piece_;
  std::int64_t count_ = 0;
  Buffer inputs_;
  Buffer expected_;
  Buffer outputs_;
};

}  // namespace

std::vector<float> awq_scales(const std::vector<float>& means, double ratio) {
  std::vector<float> scales;
  for (const float mean : means) {
    scales.push_back(std::max(std::pow(mean, static_cast<float>(ratio)), 1e-4F));
  }
  const auto [least, largest] = std::minmax_element(scales.begin(), scales.end());
  const float middle = std::sqrt(*largest * *least);
  for (float& scale : scales) scale /= middle;
  return scales;
}

AwqScaleSearch::AwqScaleSearch(const TransformContext& context, const ScaleGroup& group,
                               const std::vector<float>& means)
    : context_(context), group_(group) {
  for (std::size_t i = 0; i < kRatios; ++i) candidates_.push_back(awq_scales(means, ratio_of(i)));
}

AwqScale AwqScaleSearch::best(std::vector<double> losses, std::size_t candidate) const {
  if (!std::isfinite(losses[candidate])) {
    fail("AWQ: no scale gives \"{}\" outputs that are finite numbers",
         context_.spec.block_module(group_.layers.front(), context_.layer));
  }
  return {.group = group_,
          .scales = candidates_[candidate],
          .ratio = ratio_of(candidate),
          .losses = std::move(losses)};
}

AwqScale AwqScaleSearch::search(const Gram& inputs) const {
  const ModuleRole role = group_.layers.front();
  const RoundedLayer layer(plan_of(context_, role), *context_.block.linear(role));
  constexpr std::int64_t kRows = 96;
  const std::int64_t runs = (layer.rows() + kRows - 1) / kRows;
  std::vector<double> sums(static_cast<std::size_t>(kRatios * runs));
  context_.compute.pool().parallel_for(kRatios * runs, [&](std::int64_t item, int thread) {
    const std::int64_t first = item % runs * kRows;
    const std::int64_t count = std::min(kRows, layer.rows() - first);
    std::vector<float> weights(static_cast<std::size_t>(count * layer.cols()));
    layer.read(first, count, weights);
    std::vector<float> errors = weights;
    layer.round(candidates_[static_cast<std::size_t>(item / runs)], errors);
    for (std::size_t i = 0; i < errors.size(); ++i) errors[i] -= weights[i];
    sums[static_cast<std::size_t>(item)] = inputs.squared_output(context_.compute, thread, errors);
  });
  const auto outputs =
      static_cast<double>(layer.rows() * context_.stream->samples() * context_.stream->tokens());
  Race race(kRatios);
  std::vector<double> losses;
  for (std::size_t i = 0; i < kRatios; ++i) {
    double sum = 0;
    for (std::int64_t run = 0; run < runs; ++run) {
      sum += sums[i * static_cast<std::size_t>(runs) + static_cast<std::size_t>(run)];
    }
    losses.push_back(sum / outputs);
    race.add(i, {&losses.back(), 1});
  }
  return best(std::move(losses), race.leader());
}

AwqScale AwqScaleSearch::search(BlockSamples& samples, bool may_drop_out) const {
  TrialBlock trial(context_, group_);
  Inspection inspection(context_, group_.inspected, samples);
  const std::vector<Piece> pieces = inspection.pieces();
  // Tokens that all candidates see before any drops out, and then between one look and the next.
  constexpr std::int64_t kTokens = 4096;
  const auto at_once =
      static_cast<std::size_t>(std::max<std::int64_t>(1, kTokens / inspection.piece_tokens()));
  Race race(kRatios);
  std::size_t trials = 0;
  for (std::size_t at = 0; at < pieces.size() && race.running().size() > 1; at += at_once) {
    inspection.begin(context_.block,
                     std::span(pieces).subspan(at, std::min(at_once, pieces.size() - at)));
    for (const std::size_t candidate : race.running()) {
      trial.set(candidates_[candidate]);
      const std::vector<double> losses = inspection.losses(trial.block());
      race.add(candidate, losses);
      trials += losses.size();
    }
    if (may_drop_out && at + at_once < pieces.size()) race.drop_behind();
  }
  verbose("AWQ: \"{}\": r = {:.2f}, {} of {} trials",
          context_.spec.block_module(group_.before, context_.layer), ratio_of(race.leader()),
          trials, kRatios * pieces.size());
  std::vector<double> losses(kRatios);
  for (const std::size_t candidate : race.running()) losses[candidate] = race.mean(candidate);
  return best(std::move(losses), race.leader());
}

}  // namespace nibble
