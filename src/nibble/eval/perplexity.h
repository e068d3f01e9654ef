// Perplexity over segments of a fixed length, and how far a model is from a reference on the same
// positions. Segment i of length L is tokens [i L, (i + 1) L) on its own, positions from 0;
// nll_i = mean cross-entropy of its tokens 2..L; perplexity = exp(mean of nll_i).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "nibble/core/function_ref.h"
#include "nibble/runtime/model.h"

namespace nibble {

/// Means over segments (nll) or positions (the others) so far.
struct PerplexityResult {
  std::int64_t seqlen = 0;
  std::int64_t segments = 0;
  double nll = 0;  // nats
  // Only with a reference:
  double kl_divergence = 0;   // mean of sum p (ln p - ln q), p the reference's, in nats
  double top1_agreement = 0;  // share of positions with the same most likely token

  double perplexity() const;
};

struct PerplexityOptions {
  std::int64_t seqlen = 2048;     // at least 2
  std::int64_t max_segments = 0;  // 0: all
  Model* reference = nullptr;     // of the same vocabulary
};

/// Measures `model` on `tokens`; calls `on_segment` with the running result after each segment.
/// Throws Error if there is not one whole segment, or one is longer than the model's context.
PerplexityResult measure_perplexity(Model& model, std::span<const std::int32_t> tokens,
                                    const PerplexityOptions& options,
                                    FunctionRef<void(const PerplexityResult&)> on_segment);

/// Segments that measure_perplexity() will look at.
std::int64_t segment_count(std::int64_t tokens, const PerplexityOptions& options);

}  // namespace nibble
