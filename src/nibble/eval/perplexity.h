// Perplexity of given tokens in windows, and how far a model is from a reference on the same
// positions. A protocol (protocols.h) says what the windows are.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "nibble/core/function_ref.h"
#include "nibble/runtime/model.h"

namespace nibble {

/// Tokens that a model sees on their own, from position 0, and which of them are scored: those from
/// `first`, at least 1, on.
struct ScoredWindow {
  std::vector<std::int32_t> tokens;
  std::int64_t first = 1;
  /// What the cross-entropy of a segment is divided by: its scored tokens, or words. A window that
  /// is not the last of its segment has 0.
  std::int64_t units = 0;
};

/// Over the segments so far.
struct PerplexityResult {
  std::int64_t segments = 0;
  std::int64_t units = 0;
  double nll = 0;  // sum of the cross-entropies / units, in nats
  // Only with a reference, of all scored tokens:
  double kl_divergence = 0;   // mean of sum p (ln p - ln q), p the reference's, in nats
  double top1_agreement = 0;  // share of positions with the same most likely token

  double perplexity() const;
};

/// Measures `model`, and how far it is from `reference` (may be null; of the same vocabulary);
/// calls `on_segment` with the running result after each segment. Short windows share a pass, which
/// changes results by the order of sums at most. Throws Error if there is no
/// window, or one is longer than a model's context (but for its last token, which is not run).
PerplexityResult measure_perplexity(Model& model, std::span<const ScoredWindow> windows,
                                    Model* reference,
                                    FunctionRef<void(const PerplexityResult&)> on_segment);

}  // namespace nibble
