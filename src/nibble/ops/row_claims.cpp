#include "nibble/ops/row_claims.h"

#include <algorithm>
#include <cassert>

#include "nibble/ops/prepared_input.h"
#include "nibble/ops/rowwise.h"
#include "nibble/weights/weight_parts.h"

namespace nibble {
namespace {

// What a claim reads of its matrices at the most, or a single block of rows (gated_matmul reads as
// much again of `up`): where a stream ends and another begins, memory waits for about half a
// microsecond.
constexpr std::int64_t kLongClaimBytes = 1 << 20;
// The last claim of a share: a few microseconds of reading.
constexpr std::int64_t kShortClaimBytes = 64 << 10;

}  // namespace

RowClaims::RowClaims(Compute& compute, const PreparedInput& input,
                     std::span<const WeightView* const> weights) {
  add_matrices(weights);
  if (input.tokens() > kFewRows) {
    deal_panels(compute.kernels(), input);
  } else {
    deal_shares(compute.pool().size(), weights);
  }
}

RowClaims::RowClaims(Compute& compute, std::span<const WeightView* const> weights) {
  add_matrices(weights);
  deal_shares(compute.pool().size(), weights);
}

void RowClaims::add_matrices(std::span<const WeightView* const> weights) {
  assert(weights.size() <= kMaxMatmulCalls);
  for (const WeightView* weight : weights) {
    const std::int64_t begin = blocks_;
    blocks_ += (weight->rows + kRowBlock - 1) / kRowBlock;
    matrices_[matrix_count_++] = {.rows = weight->rows, .blocks = {begin, blocks_}};
  }
}

void RowClaims::deal_panels(const KernelSet& kernels, const PreparedInput& input) {
  for (std::size_t i = 0; i < matrix_count_; ++i) {
    Matrix& matrix = matrices_[i];
    const bool is_int8 = input.type_of(i) == ProductType::kInt8;
    matrix.panel_blocks = (is_int8 ? kernels.int8_panel_rows : kernels.panel_rows) / kRowBlock;
    const std::int64_t blocks = matrix.blocks.end - matrix.blocks.begin;
    count_ += (blocks + matrix.panel_blocks - 1) / matrix.panel_blocks;
    matrix.panels_end = count_;
  }
}

void RowClaims::deal_shares(int threads, std::span<const WeightView* const> weights) {
  if (blocks_ == 0) return;
  std::int64_t bytes = 0;
  for (const WeightView* weight : weights) bytes += weight_bytes(*weight);
  threads_ = std::min<std::int64_t>(threads, blocks_);
  const std::int64_t block_bytes = bytes / blocks_ + 1;
  const std::int64_t share = (blocks_ + threads_ - 1) / threads_;
  long_blocks_ = std::max<std::int64_t>(1, kLongClaimBytes / block_bytes);
  long_claims_ = std::max<std::int64_t>(0, share / long_blocks_ - 1);
  claims_per_thread_ = long_claims_ + 1;
  for (std::int64_t left = share - long_claims_ * long_blocks_;
       left > 1 && left * block_bytes > kShortClaimBytes; left /= 2) {
    ++claims_per_thread_;
  }
  count_ = threads_ * claims_per_thread_;
}

std::int64_t RowClaims::offset_in_share(std::int64_t blocks, std::int64_t claim) const {
  if (claim == claims_per_thread_) return blocks;
  if (claim <= long_claims_) return claim * long_blocks_;
  const std::int64_t left = blocks - long_claims_ * long_blocks_;
  return blocks - (left >> (claim - long_claims_));
}

RowClaims::Blocks RowClaims::panel(std::int64_t claim) const {
  const Matrix* matrix = matrices_;
  std::int64_t first = 0;  // of the matrix's claims
  for (; claim >= matrix->panels_end; ++matrix) first = matrix->panels_end;
  const std::int64_t begin = matrix->blocks.begin + (claim - first) * matrix->panel_blocks;
  return {begin, std::min(matrix->blocks.end, begin + matrix->panel_blocks)};
}

RowClaims::Blocks RowClaims::blocks_of(std::int64_t claim) const {
  if (threads_ == 0) return panel(claim);
  const std::int64_t thread = claim / claims_per_thread_;
  const std::int64_t place = claim % claims_per_thread_;
  const std::int64_t begin = blocks_ * thread / threads_;
  const std::int64_t share = blocks_ * (thread + 1) / threads_ - begin;
  return {begin + offset_in_share(share, place), begin + offset_in_share(share, place + 1)};
}

void RowClaims::visit(std::int64_t claim,
                      FunctionRef<void(std::size_t matrix, const Rows& rows)> work) const {
  const Blocks claimed = blocks_of(claim);
  for (std::size_t i = 0; i < matrix_count_; ++i) {
    const Matrix& matrix = matrices_[i];
    const std::int64_t begin = std::max(claimed.begin, matrix.blocks.begin);
    const std::int64_t end = std::min(claimed.end, matrix.blocks.end);
    if (begin >= end) continue;
    const std::int64_t first = matrix.blocks.begin;
    work(i, {(begin - first) * kRowBlock, std::min(matrix.rows, (end - first) * kRowBlock)});
  }
}

}  // namespace nibble
