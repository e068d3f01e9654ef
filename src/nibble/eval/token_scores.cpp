#include "nibble/eval/token_scores.h"

#include <algorithm>

#include "nibble/core/error.h"
#include "nibble/runtime/finite.h"

namespace nibble {

double cross_entropy(const KernelSet& kernels, std::span<const float> logits, std::int32_t target) {
  const auto vocab = static_cast<std::int64_t>(logits.size());
  return static_cast<double>(kernels.log_sum_exp(logits.data(), vocab)) -
         logits[static_cast<std::size_t>(target)];
}

std::vector<double> log_probabilities(Model& model, std::span<const TokenToScore> tokens) {
  const auto width = static_cast<std::size_t>(model.spec().hidden);
  const auto vocab = static_cast<std::size_t>(model.spec().vocab);
  const auto lot = std::min<std::size_t>(tokens.size(), kPositionsPerLot);
  std::vector<float> hidden(lot * width);
  std::vector<float> logits(lot * vocab);
  std::vector<double> scores(tokens.size());
  for (std::size_t first = 0; first < tokens.size(); first += lot) {
    const auto part = tokens.subspan(first, std::min(lot, tokens.size() - first));
    for (std::size_t i = 0; i < part.size(); ++i) {
      std::copy_n(part[i].hidden, width, hidden.data() + i * width);
    }
    model.logits(hidden.data(), std::ssize(part), logits.data());
    if (!all_finite(std::span(logits).first(part.size() * vocab))) {
      fail("{}: logits are not finite", model.checkpoint().path().string());
    }
    model.compute().pool().parallel_for(std::ssize(part), [&](std::int64_t item, int) {
      const auto i = static_cast<std::size_t>(item);
      const auto row = std::span<const float>(logits).subspan(i * vocab, vocab);
      scores[first + i] = -cross_entropy(model.compute().kernels(), row, part[i].token);
    });
  }
  return scores;
}

}  // namespace nibble
