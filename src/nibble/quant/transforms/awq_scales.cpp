#include "nibble/quant/transforms/awq_scales.h"

#include <algorithm>
#include <cmath>

#include "nibble/core/error.h"
#include "nibble/core/log.h"
#include "nibble/quant/transforms/inspected_module.h"
#include "nibble/quant/transforms/race.h"
#include "nibble/quant/transforms/trial_block.h"

namespace nibble {
namespace {

constexpr int kRatios = 20;

double ratio_of(std::size_t candidate) {
  return static_cast<double>(candidate) / kRatios;
}

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
  InspectedModule module(context_, group_.inspected, samples);
  const std::vector<InspectedModule::Piece> pieces = module.pieces();
  // Tokens that all candidates see before any drops out, and then between one look and the next.
  constexpr std::int64_t kTokens = 2048;
  const auto at_once =
      static_cast<std::size_t>(std::max<std::int64_t>(1, kTokens / module.piece_tokens()));
  Race race(kRatios);
  std::size_t trials = 0;
  for (std::size_t at = 0; at < pieces.size() && race.running().size() > 1; at += at_once) {
    const std::size_t count = std::min(at_once, pieces.size() - at);
    module.begin(std::span(pieces).subspan(at, count));
    for (const std::size_t candidate : race.running()) {
      trial.set(candidates_[candidate]);
      race.add(candidate, module.losses(trial.block()));
      trials += count;
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
