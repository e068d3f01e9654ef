#include "nibble/eval/perplexity.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "nibble/core/arg_max.h"
#include "nibble/core/error.h"
#include "nibble/eval/shared_prefix.h"
#include "nibble/eval/token_scores.h"
#include "nibble/ops/divergence.h"
#include "nibble/runtime/finite.h"

namespace nibble {
namespace {

/// What one position contributes.
struct PositionScore {
  double nll;
  double kl_divergence;
  bool same_top1;
};

/// A scored token.
struct Target {
  const ScoredWindow* window;
  std::int64_t position;  // in the window

  std::int32_t token() const { return window->tokens[static_cast<std::size_t>(position)]; }
  /// What the model sees.
  std::span<const std::int32_t> before() const {
    return std::span(window->tokens).first(static_cast<std::size_t>(position));
  }
};

std::int64_t run_positions(const ScoredWindow& window) {
  return std::ssize(window.tokens) - 1;  // nothing follows the last
}

/// The first of `windows` that share a pass: as many as it has rows for, `most` at the most, one at
/// least.
std::span<const ScoredWindow> first_batch(std::span<const ScoredWindow> windows,
                                          std::int64_t most) {
  std::int64_t rows = 0;
  std::size_t count = 0;
  for (const ScoredWindow& window : windows) {
    rows += run_positions(window);
    if (static_cast<std::int64_t>(count) == most || (count > 0 && rows > kPassRows)) break;
    ++count;
  }
  return windows.first(count);
}

/// What the largest batch of some windows needs.
struct BatchSize {
  std::int64_t rows = 0;
  std::int64_t cached = 0;  // positions, in whole pages
};

BatchSize largest_batch(std::span<const ScoredWindow> windows, std::int64_t most) {
  BatchSize largest;
  while (!windows.empty()) {
    BatchSize size;
    const auto batch = first_batch(windows, most);
    for (const ScoredWindow& window : batch) {
      const std::int64_t rows = run_positions(window);
      size.rows += rows;
      size.cached += (rows + kKvPagePositions - 1) / kKvPagePositions * kKvPagePositions;
    }
    largest = {std::max(largest.rows, size.rows), std::max(largest.cached, size.cached)};
    windows = windows.subspan(batch.size());
  }
  return largest;
}

/// One model's pass over windows.
class Pass {
 public:
  Pass(Model& model, const BatchSize& size) : model_(model), pool_(model.make_pool(size.cached)) {
    hidden_.resize(static_cast<std::size_t>(size.rows * model.spec().hidden));
    logits_.resize(static_cast<std::size_t>(kPositionsPerLot * model.spec().vocab));
  }

  void run(std::span<const ScoredWindow> windows) {
    std::vector<KvCache> caches;
    std::vector<SequenceTokens> sequences;
    caches.reserve(windows.size());
    for (const ScoredWindow& window : windows) {
      const std::int64_t positions = run_positions(window);
      caches.push_back(model_.make_cache(pool_, positions));
      const auto count = static_cast<std::size_t>(positions);
      sequences.push_back({std::span(window.tokens).first(count), &caches.back()});
    }
    model_.forward(sequences, hidden_.data());
    keep_scored(windows);
  }

  /// Of the targets of the windows that ran, from `first` on.
  void compute_logits(std::int64_t first, std::span<const Target> targets) {
    model_.logits(hidden_.data() + first * model_.spec().hidden, std::ssize(targets),
                  logits_.data());
    for (std::size_t i = 0; i < targets.size(); ++i) {
      check_finite(model_, logits(static_cast<std::int64_t>(i)), targets[i].before());
    }
  }

  /// Of the i-th target of the last compute_logits(): (vocab).
  std::span<const float> logits(std::int64_t i) const {
    const auto vocab = static_cast<std::size_t>(model_.spec().vocab);
    return std::span(logits_).subspan(static_cast<std::size_t>(i) * vocab, vocab);
  }

 private:
  /// Moves the rows that targets follow to the front.
  void keep_scored(std::span<const ScoredWindow> windows) {
    const std::int64_t width = model_.spec().hidden;
    const float* from = hidden_.data();
    float* to = hidden_.data();
    for (const ScoredWindow& window : windows) {
      const float* end = from + run_positions(window) * width;
      to = std::copy(from + (window.first - 1) * width, end, to);
      from = end;
    }
  }

  Model& model_;
  std::shared_ptr<KvPool> pool_;
  std::vector<float> hidden_;  // (rows, hidden)
  std::vector<float> logits_;  // (kPositionsPerLot, vocab)
};

/// Scores windows, several in a pass.
class WindowScorer {
 public:
  WindowScorer(Model& model, Model* reference, const BatchSize& size)
      : model_(model), pass_(model, size) {
    if (reference != nullptr) reference_.emplace(*reference, size);
  }

  /// Of all targets, window by window.
  std::vector<PositionScore> score(std::span<const ScoredWindow> windows) {
    pass_.run(windows);
    if (reference_) reference_->run(windows);
    const std::vector<Target> targets = targets_of(windows);
    std::vector<PositionScore> scores(targets.size());
    for (std::size_t first = 0; first < targets.size(); first += kPositionsPerLot) {
      const auto lot = std::span(targets).subspan(
          first, std::min<std::size_t>(kPositionsPerLot, targets.size() - first));
      pass_.compute_logits(static_cast<std::int64_t>(first), lot);
      if (reference_) reference_->compute_logits(static_cast<std::int64_t>(first), lot);
      model_.compute().pool().parallel_for(std::ssize(lot), [&](std::int64_t i, int thread) {
        const auto place = static_cast<std::size_t>(i);
        scores[first + place] = score_position(i, lot[place].token(), thread);
      });
    }
    return scores;
  }

 private:
  static std::vector<Target> targets_of(std::span<const ScoredWindow> windows) {
    std::vector<Target> targets;
    for (const ScoredWindow& window : windows) {
      for (std::int64_t i = window.first; i < std::ssize(window.tokens); ++i) {
        targets.push_back({&window, i});
      }
    }
    return targets;
  }

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
    positions = std::max(positions, run_positions(window));
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
  constexpr std::int64_t kMostCaches = 64;
  std::int64_t most = caches_in_memory(model, positions, kMostCaches);
  if (reference != nullptr) most = caches_in_memory(*reference, positions, most);
  WindowScorer scorer(model, reference, largest_batch(windows, most));
  PerplexityResult result;
  Sums sums;
  for (std::span<const ScoredWindow> left = windows; !left.empty();) {
    const auto batch = first_batch(left, most);
    left = left.subspan(batch.size());
    const std::vector<PositionScore> scores = scorer.score(batch);
    auto score = scores.begin();
    for (const ScoredWindow& window : batch) {
      const auto end = score + (std::ssize(window.tokens) - window.first);
      for (; score != end; ++score) sums.add(*score);
      if (window.units == 0) continue;
      result.units += window.units;
      ++result.segments;
      sums.write(result);
      on_segment(result);
    }
  }
  return result;
}

}  // namespace nibble
