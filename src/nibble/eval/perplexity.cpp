#include "nibble/eval/perplexity.h"

#include <algorithm>
#include <cmath>

#include "nibble/core/error.h"
#include "nibble/runtime/finite.h"

namespace nibble {
namespace {

// Positions whose logits exist at a time: the head's weights are unpacked once for each lot.
constexpr std::int64_t kPositionsPerLot = 128;

/// What one position contributes.
struct PositionScore {
  double nll;
  double kl_divergence;
  bool same_top1;
};

/// Cross-entropy of `target` under `logits`, (vocab).
double cross_entropy(const KernelSet& kernels, std::span<const float> logits, std::int32_t target) {
  const auto vocab = static_cast<std::int64_t>(logits.size());
  return static_cast<double>(kernels.log_sum_exp(logits.data(), vocab)) -
         logits[static_cast<std::size_t>(target)];
}

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

/// One model's pass over a segment.
class Pass {
 public:
  Pass(Model& model, std::int64_t seqlen) : model_(model), cache_(model.make_cache(seqlen)) {
    hidden_.resize(static_cast<std::size_t>(seqlen * model.spec().hidden));
    logits_.resize(static_cast<std::size_t>(kPositionsPerLot * model.spec().vocab));
  }

  void run(std::span<const std::int32_t> segment) {
    cache_.truncate(0);
    model_.forward(segment, cache_, hidden_.data());
  }

  void compute_logits(std::int64_t first, std::int64_t count,
                      std::span<const std::int32_t> segment) {
    const ModelSpec& spec = model_.spec();
    model_.logits(hidden_.data() + first * spec.hidden, count, logits_.data());
    check_finite(model_, std::span(logits_).first(static_cast<std::size_t>(count * spec.vocab)),
                 segment.first(static_cast<std::size_t>(first + count)));
  }

  /// Of the i-th position of the last compute_logits(): (vocab).
  std::span<const float> logits(std::int64_t i) const {
    const auto vocab = static_cast<std::size_t>(model_.spec().vocab);
    return std::span(logits_).subspan(static_cast<std::size_t>(i) * vocab, vocab);
  }

 private:
  Model& model_;
  KvCache cache_;
  std::vector<float> hidden_;  // (seqlen, hidden)
  std::vector<float> logits_;  // (kPositionsPerLot, vocab)
};

/// Scores segments of one length.
class SegmentScorer {
 public:
  SegmentScorer(Model& model, const PerplexityOptions& options)
      : model_(model), pass_(model, options.seqlen) {
    if (options.reference != nullptr) reference_.emplace(*options.reference, options.seqlen);
  }

  std::vector<PositionScore> score(std::span<const std::int32_t> segment) {
    pass_.run(segment);
    if (reference_) reference_->run(segment);
    const auto positions = static_cast<std::int64_t>(segment.size()) - 1;
    std::vector<PositionScore> scores(static_cast<std::size_t>(positions));
    for (std::int64_t first = 0; first < positions; first += kPositionsPerLot) {
      const std::int64_t count = std::min(kPositionsPerLot, positions - first);
      pass_.compute_logits(first, count, segment);
      if (reference_) reference_->compute_logits(first, count, segment);
      Compute& compute = model_.compute();
      compute.pool().parallel_for(count, [&](std::int64_t i, int thread) {
        const auto at = static_cast<std::size_t>(first + i);
        scores[at] = score_position(i, segment[at + 1], thread);
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

void check(const Model& model, std::int64_t tokens, const PerplexityOptions& options) {
  if (options.seqlen < 2) fail("a segment must have at least 2 tokens, found {}", options.seqlen);
  if (options.seqlen > model.spec().context) {
    fail("segments of {} tokens are longer than the model's context of {}", options.seqlen,
         model.spec().context);
  }
  if (options.reference != nullptr && options.seqlen > options.reference->spec().context) {
    fail("segments of {} tokens are longer than the reference's context of {}", options.seqlen,
         options.reference->spec().context);
  }
  if (tokens < options.seqlen) {
    fail("the text has {} tokens, fewer than one segment of {} (--seqlen)", tokens, options.seqlen);
  }
  if (options.reference != nullptr && options.reference->spec().vocab != model.spec().vocab) {
    fail("the reference has a vocabulary of {}, the model one of {}: they cannot be compared",
         options.reference->spec().vocab, model.spec().vocab);
  }
}

}  // namespace

double PerplexityResult::perplexity() const {
  return std::exp(nll);
}

std::int64_t segment_count(std::int64_t tokens, const PerplexityOptions& options) {
  const std::int64_t all = tokens / options.seqlen;
  return options.max_segments > 0 ? std::min(all, options.max_segments) : all;
}

PerplexityResult measure_perplexity(Model& model, std::span<const std::int32_t> tokens,
                                    const PerplexityOptions& options,
                                    FunctionRef<void(const PerplexityResult&)> on_segment) {
  const auto token_count = static_cast<std::int64_t>(tokens.size());
  check(model, token_count, options);
  SegmentScorer scorer(model, options);
  const auto seqlen = static_cast<std::size_t>(options.seqlen);
  double nll_sum = 0;
  double kl_sum = 0;
  double same_sum = 0;
  PerplexityResult result{.seqlen = options.seqlen};
  for (std::int64_t i = 0; i < segment_count(token_count, options); ++i) {
    double segment_nll = 0;
    for (const PositionScore& score :
         scorer.score(tokens.subspan(static_cast<std::size_t>(i) * seqlen, seqlen))) {
      segment_nll += score.nll;
      kl_sum += score.kl_divergence;
      same_sum += score.same_top1 ? 1 : 0;
    }
    const auto positions = static_cast<double>(options.seqlen - 1);
    nll_sum += segment_nll / positions;
    result.segments = i + 1;
    const auto segments = static_cast<double>(result.segments);
    result.nll = nll_sum / segments;
    result.kl_divergence = kl_sum / (segments * positions);
    result.top1_agreement = same_sum / (segments * positions);
    on_segment(result);
  }
  return result;
}

}  // namespace nibble
