#include "nibble/eval/perplexity.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "nibble/core/error.h"
#include "nibble/eval/token_scores.h"
#include "nibble/runtime/finite.h"

namespace nibble {
namespace {

/// What one position contributes.
struct PositionScore {
  double nll;
  double kl_divergence;
  bool same_top1;
};

/// sum p (ln p - ln q) of two rows of logits. `p` is scratch, (vocab).
double kl_divergence(const KernelSet& kernels, std::span<const float> reference,
                     std::span<const float> logits, float* p) {
  const auto vocab = static_cast<std::int64_t>(logits.size());
  const double reference_lse = kernels.softmax(reference.data(), vocab, p);
  const double lse = kernels.log_sum_exp(logits.data(), vocab);
  double sum = 0;  // of p (reference logit - logit); the constants come in once
  for (std::size_t i = 0; i < logits.size(); ++i) {
    sum += static_cast<double>(p[i]) * (static_cast<double>(reference[i]) - logits[i]);
  }
  return sum - reference_lse + lse;
}

std::ptrdiff_t arg_max(std::span<const float> logits) {
  return std::max_element(logits.begin(), logits.end()) - logits.begin();
}

/// One model's pass over a window.
class Pass {
 public:
  Pass(Model& model, std::int64_t positions) : model_(model), cache_(model.make_cache(positions)) {
    hidden_.resize(static_cast<std::size_t>(positions * model.spec().hidden));
    logits_.resize(static_cast<std::size_t>(kPositionsPerLot * model.spec().vocab));
  }

  void run(std::span<const std::int32_t> tokens) {
    cache_.truncate(0);
    model_.forward(tokens, cache_, hidden_.data());
  }

  void compute_logits(std::int64_t first, std::int64_t count,
                      std::span<const std::int32_t> tokens) {
    const ModelSpec& spec = model_.spec();
    model_.logits(hidden_.data() + first * spec.hidden, count, logits_.data());
    check_finite(model_, std::span(logits_).first(static_cast<std::size_t>(count * spec.vocab)),
                 tokens.first(static_cast<std::size_t>(first + count)));
  }

  /// Of the i-th position of the last compute_logits(): (vocab).
  std::span<const float> logits(std::int64_t i) const {
    const auto vocab = static_cast<std::size_t>(model_.spec().vocab);
    return std::span(logits_).subspan(static_cast<std::size_t>(i) * vocab, vocab);
  }

 private:
  Model& model_;
  KvCache cache_;
  std::vector<float> hidden_;  // (positions, hidden)
  std::vector<float> logits_;  // (kPositionsPerLot, vocab)
};

/// Scores windows of up to `positions` tokens, and a last one that nothing follows.
class WindowScorer {
 public:
  WindowScorer(Model& model, Model* reference, std::int64_t positions)
      : model_(model), pass_(model, positions) {
    if (reference != nullptr) reference_.emplace(*reference, positions);
  }

  std::vector<PositionScore> score(const ScoredWindow& window) {
    const std::int64_t end = std::ssize(window.tokens) - 1;
    const std::int64_t start = window.first - 1;  // whose logits are the first target's
    const auto tokens = std::span(window.tokens).first(static_cast<std::size_t>(end));
    pass_.run(tokens);
    if (reference_) reference_->run(tokens);
    std::vector<PositionScore> scores(static_cast<std::size_t>(end - start));
    for (std::int64_t first = start; first < end; first += kPositionsPerLot) {
      const std::int64_t count = std::min(kPositionsPerLot, end - first);
      pass_.compute_logits(first, count, tokens);
      if (reference_) reference_->compute_logits(first, count, tokens);
      Compute& compute = model_.compute();
      compute.pool().parallel_for(count, [&](std::int64_t i, int thread) {
        const std::int32_t target = window.tokens[static_cast<std::size_t>(first + i + 1)];
        scores[static_cast<std::size_t>(first + i - start)] = score_position(i, target, thread);
      });
    }
    return scores;
  }

 private:
  PositionScore score_position(std::int64_t i, std::int32_t target, int thread) {
    const KernelSet& kernels = model_.compute().kernels();
    const std::span<const float> logits = pass_.logits(i);
    PositionScore score{cross_entropy(kernels, logits, target), 0, false};
    if (reference_) {
      const std::span<const float> expected = reference_->logits(i);
      auto* p =
          reinterpret_cast<float*>(model_.compute().thread_scratch(thread, logits.size_bytes()));
      score.kl_divergence = kl_divergence(kernels, expected, logits, p);
      score.same_top1 = arg_max(expected) == arg_max(logits);
    }
    return score;
  }

  Model& model_;
  Pass pass_;
  std::optional<Pass> reference_;
};

/// Of the longest window.
std::int64_t most_positions(std::span<const ScoredWindow> windows) {
  std::int64_t positions = 0;
  for (const ScoredWindow& window : windows) {
    assert(window.first >= 1 && window.first < std::ssize(window.tokens));
    positions = std::max(positions, std::ssize(window.tokens) - 1);
  }
  return positions;
}

void check(const Model& model, const Model* reference, std::int64_t positions) {
  if (positions == 0) fail("the text has no token to score");
  if (positions > model.spec().context) {
    fail("windows of {} tokens are longer than the model's context of {}", positions,
         model.spec().context);
  }
  if (reference == nullptr) return;
  if (positions > reference->spec().context) {
    fail("windows of {} tokens are longer than the reference's context of {}", positions,
         reference->spec().context);
  }
  if (reference->spec().vocab != model.spec().vocab) {
    fail("the reference has a vocabulary of {}, the model one of {}: they cannot be compared",
         reference->spec().vocab, model.spec().vocab);
  }
}

/// What all positions so far come to.
class Sums {
 public:
  void add(const PositionScore& score) {
    nll_ += score.nll;
    kl_ += score.kl_divergence;
    same_ += score.same_top1 ? 1 : 0;
    ++positions_;
  }
  void write(PerplexityResult& result) const {
    const auto positions = static_cast<double>(positions_);
    result.nll = nll_ / static_cast<double>(result.units);
    result.kl_divergence = kl_ / positions;
    result.top1_agreement = same_ / positions;
  }

 private:
  double nll_ = 0;
  double kl_ = 0;
  double same_ = 0;
  std::int64_t positions_ = 0;
};

}  // namespace

double PerplexityResult::perplexity() const {
  return std::exp(nll);
}

PerplexityResult measure_perplexity(Model& model, std::span<const ScoredWindow> windows,
                                    Model* reference,
                                    FunctionRef<void(const PerplexityResult&)> on_segment) {
  const std::int64_t positions = most_positions(windows);
  check(model, reference, positions);
  WindowScorer scorer(model, reference, positions);
  PerplexityResult result;
  Sums sums;
  for (const ScoredWindow& window : windows) {
    for (const PositionScore& score : scorer.score(window)) sums.add(score);
    if (window.units == 0) continue;
    result.units += window.units;
    ++result.segments;
    sums.write(result);
    on_segment(result);
  }
  return result;
}

}  // namespace nibble
