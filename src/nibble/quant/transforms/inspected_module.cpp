#include "nibble/quant/transforms/inspected_module.h"

#include <algorithm>

namespace nibble {
namespace {

constexpr std::int64_t kMlpPiece = 64;
constexpr std::int64_t kMlpTokens = 512;  // run at once: inner values of more leave the caches
constexpr std::int64_t kAttentionLoss = 128;

}  // namespace

InspectedModule::InspectedModule(const TransformContext& context, ScaleGroup::Inspected inspected,
                                 BlockSamples& samples)
    : context_(context),
      samples_(samples),
      width_(context.spec.hidden),
      is_attention_(inspected == ScaleGroup::Inspected::kAttention),
      piece_(samples.tokens()),
      loss_tokens_(samples.tokens()) {
  // The MLP takes tokens by themselves, so that pieces of many samples tell more than as many
  // tokens of a few.
  if (!is_attention_ && context.moves_on && piece_ % kMlpPiece == 0) {
    piece_ = loss_tokens_ = kMlpPiece;
  }
  if (is_attention_ && piece_ % kAttentionLoss == 0) loss_tokens_ = kAttentionLoss;
}

std::vector<InspectedModule::Piece> InspectedModule::pieces() const {
  const std::int64_t cuts = samples_.tokens() / piece_;
  std::vector<Piece> all;
  for (std::int64_t i = 0; i < cuts; ++i) {
    for (std::int64_t sample = 0; sample < samples_.count(); ++sample) {
      all.push_back({sample, (i + sample) % cuts * piece_});
    }
  }
  return all;
}

void InspectedModule::begin(std::span<const Piece> pieces) {
  tokens_ = std::ssize(pieces) * piece_;
  const auto elements = static_cast<std::size_t>(tokens_ * width_);
  float* x = inputs_.as<float>(elements);
  for (const Piece& piece : pieces) {
    const float* all =
        is_attention_ ? samples_.attention_input(piece.sample) : samples_.mlp_input(piece.sample);
    x = std::copy_n(all + piece.first * width_, piece_ * width_, x);
  }
  run(context_.block, expected_.as<float>(elements));
}

std::vector<double> InspectedModule::losses(const DecoderBlock& block) {
  float* outputs = outputs_.as<float>(static_cast<std::size_t>(tokens_ * width_));
  run(block, outputs);
  const float* expected = expected_.as<float>(0);
  const std::int64_t size = loss_tokens_ * width_;
  std::vector<double> losses(static_cast<std::size_t>(tokens_ / loss_tokens_));
  context_.compute.pool().parallel_for(std::ssize(losses), [&](std::int64_t i, int) {
    double sum = 0;
    for (std::int64_t at = i * size; at < (i + 1) * size; ++at) {
      const double off = static_cast<double>(outputs[at]) - expected[at];
      sum += off * off;
    }
    losses[static_cast<std::size_t>(i)] = sum / static_cast<double>(size);
  });
  return losses;
}

void InspectedModule::run(const DecoderBlock& block, float* out) {
  std::fill_n(out, tokens_ * width_, 0.0F);
  const std::int64_t at_once = is_attention_ ? piece_ : std::max(piece_, kMlpTokens);
  for (std::int64_t first = 0; first < tokens_; first += at_once) {
    const MatmulInput input{.x = inputs_.as<float>(0) + first * width_,
                            .tokens = std::min(at_once, tokens_ - first)};
    if (is_attention_) {
      block.attention.add_to(context_.compute, input, samples_.pass(), 0, out + first * width_);
    } else {
      block.mlp.add_to(context_.compute, input, samples_.pass().scratch(), out + first * width_);
    }
  }
}

}  // namespace nibble
