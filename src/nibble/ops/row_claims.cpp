#include "nibble/ops/row_claims.h"

#include <algorithm>
#include <cassert>

#include "nibble/ops/rowwise.h"
#include "nibble/weights/packed_group.h"

namespace nibble {
namespace {

// What one claim of a thread should read at least, so that its stream is long and claims are few
// ...
constexpr std::int64_t kMinClaimBytes = 256 << 10;
// ... and how many claims a thread should find at least, so that a late thread is made up for.
constexpr std::int64_t kClaimsPerThread = 4;

/// Rows that a thread takes at a time: whole panels for many tokens, else enough bytes.
std::int64_t claim_rows(Compute& compute, const WeightView& weight, std::int64_t tokens) {
  if (tokens > kFewRows) return compute.kernels().panel_rows;
  const auto row_bytes =
      static_cast<std::int64_t>(bits_per_weight(weight) * static_cast<double>(weight.cols) / 8) + 1;
  const std::int64_t for_bytes = kMinClaimBytes / row_bytes;
  const std::int64_t for_sharing = weight.rows / (compute.pool().size() * kClaimsPerThread);
  const std::int64_t rows = std::min(for_bytes, for_sharing);
  return std::max(kRowBlock, rows / kRowBlock * kRowBlock);
}

}  // namespace

void RowClaims::add(const WeightView& weight) {
  assert(matrices_ < kMaxMatrices);
  const std::int64_t per_claim = claim_rows(compute_, weight, tokens_);
  const std::int64_t begin = count();
  const std::int64_t claims = (weight.rows + per_claim - 1) / per_claim;
  spans_[matrices_++] = {begin, begin + claims, weight.rows, per_claim};
}

RowClaims::Claim RowClaims::claim(std::int64_t index) const {
  std::size_t matrix = 0;
  while (index >= spans_[matrix].end) ++matrix;
  const Span& span = spans_[matrix];
  const std::int64_t begin = (index - span.begin) * span.rows_per_claim;
  return {matrix, {begin, std::min(span.rows, begin + span.rows_per_claim)}};
}

}  // namespace nibble
