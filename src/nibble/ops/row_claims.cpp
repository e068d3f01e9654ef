#include "nibble/ops/row_claims.h"

#include <algorithm>
#include <cassert>

#include "nibble/ops/rowwise.h"
#include "nibble/weights/packed_group.h"
#include "nibble/weights/weight_parts.h"

namespace nibble {
namespace {

// What one claim of a thread should read, so that its stream is long and claims are few ...
constexpr std::int64_t kClaimBytes = 128 << 10;
// ... and how many claims a thread should find at least, so that a late thread is made up for.
constexpr std::int64_t kClaimsPerThread = 4;

/// Bytes of a claim on these weights: the same for all of them, so that shares are equal.
std::int64_t claim_bytes(Compute& compute, std::span<const WeightView* const> weights) {
  std::int64_t total = 0;
  for (const WeightView* weight : weights) total += weight_bytes(*weight);
  return std::min(kClaimBytes, total / (compute.pool().size() * kClaimsPerThread));
}

}  // namespace

RowClaims::RowClaims(Compute& compute, std::int64_t tokens,
                     std::span<const WeightView* const> weights) {
  assert(weights.size() <= kMaxMatrices);
  const std::int64_t bytes = claim_bytes(compute, weights);
  for (const WeightView* weight : weights) {
    const std::int64_t row_bytes = weight_bytes(*weight) / weight->rows + 1;
    // Whole panels for many tokens.
    const std::int64_t per_claim =
        tokens > kFewRows ? compute.kernels().panel_rows
                          : std::max(kRowBlock, bytes / row_bytes / kRowBlock * kRowBlock);
    const std::int64_t begin = count();
    const std::int64_t claims = (weight->rows + per_claim - 1) / per_claim;
    spans_[matrices_++] = {begin, begin + claims, weight->rows, per_claim};
  }
}

RowClaims::Claim RowClaims::claim(std::int64_t index) const {
  std::size_t matrix = 0;
  while (index >= spans_[matrix].end) ++matrix;
  const Span& span = spans_[matrix];
  const std::int64_t begin = (index - span.begin) * span.rows_per_claim;
  return {matrix, {begin, std::min(span.rows, begin + span.rows_per_claim)}};
}

}  // namespace nibble
