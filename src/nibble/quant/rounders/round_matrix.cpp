#include "nibble/quant/rounders/round_matrix.h"

#include <algorithm>
#include <cmath>

namespace nibble {
namespace {

static_assert(kRowsAtATime % kRowBlock == 0);

bool all_finite(std::span<const float> weights) {
  return std::all_of(weights.begin(), weights.end(), [](float w) { return std::isfinite(w); });
}

RoundingError error_of(std::span<const float> weights, const IntegerRows& rows) {
  RoundingError error;
  for (std::int64_t r = 0; r < rows.rows; ++r) {
    for (std::int64_t g = 0; g < rows.groups(); ++g) {
      const IntegerGrid grid = rows.grid(r, g);
      bool above = false;
      bool below = false;  // weights on either side of 0, or on it
      for (std::int64_t c = g * rows.group_size; c < (g + 1) * rows.group_size; ++c) {
        const float w = weights[static_cast<std::size_t>(r * rows.cols + c)];
        const double off = static_cast<double>(grid.value(rows.q_row(r)[c])) - w;
        error.squared_error += off * off;
        error.squared_weight += static_cast<double>(w) * w;
        above |= w >= 0;
        below |= w <= 0;
      }
      if (!above || !below) ++error.clipped_groups;
    }
  }
  return error;
}

/// Packs 16 rows of `rows` from `first` on as block `block` of the matrix.
void pack_block(const IntegerRows& rows, std::int64_t first, std::int64_t block,
                PackedMatrix& out) {
  const PackedGroup& layout = out.layout;
  const std::int64_t count = std::min(kRowBlock, rows.rows - first);
  const std::int64_t groups = layout.groups();
  std::vector<std::uint8_t> q(static_cast<std::size_t>(kRowBlock * layout.cols));
  std::vector<std::uint8_t> zeros(static_cast<std::size_t>(groups * kRowBlock));
  std::copy_n(rows.q_row(first), count * layout.cols, q.data());
  BFloat16* scales = out.scales.data() + block * groups * kRowBlock;
  for (std::int64_t r = 0; r < count; ++r) {
    for (std::int64_t g = 0; g < groups; ++g) {
      const IntegerGrid grid = rows.grid(first + r, g);
      scales[g * kRowBlock + r] = to_bfloat16(grid.scale);
      zeros[static_cast<std::size_t>(g * kRowBlock + r)] = static_cast<std::uint8_t>(grid.zero);
    }
  }
  const auto code_bytes = static_cast<std::size_t>(layout.block_code_bytes());
  const auto zero_bytes = static_cast<std::size_t>(layout.block_zero_bytes());
  const auto at = static_cast<std::size_t>(block);
  pack_codes(layout, q, std::span(out.codes).subspan(at * code_bytes, code_bytes));
  pack_zeros(layout, zeros, std::span(out.zeros).subspan(at * zero_bytes, zero_bytes));
}

}  // namespace

WeightView PackedMatrix::view() const {
  return {.format = layout.bits == 4 ? WeightFormat::kW4 : WeightFormat::kW3,
          .rows = layout.rows,
          .cols = layout.cols,
          .data = codes.data(),
          .group_size = layout.group_size,
          .scales = scales.data(),
          .zeros = zeros.data()};
}

PackedMatrix round_matrix(Compute& compute, const RowRounder& rounder, const PackedGroup& layout,
                          RowReader read) {
  PackedMatrix out{
      .layout = layout,
      .codes = std::vector<std::uint8_t>(static_cast<std::size_t>(layout.code_bytes())),
      .scales = std::vector<BFloat16>(static_cast<std::size_t>(layout.scale_bytes() / 2)),
      .zeros = std::vector<std::uint8_t>(static_cast<std::size_t>(layout.zero_bytes()))};
  const std::int64_t pieces = (layout.rows + kRowsAtATime - 1) / kRowsAtATime;
  std::vector<RoundingError> errors(static_cast<std::size_t>(pieces));
  compute.pool().parallel_for(pieces, [&](std::int64_t piece, int thread) {
    const std::int64_t first = piece * kRowsAtATime;
    const std::int64_t count = std::min(kRowsAtATime, layout.rows - first);
    std::vector<float> weights(static_cast<std::size_t>(count * layout.cols));
    read(first, count, weights);
    RoundingError& error = errors[static_cast<std::size_t>(piece)];
    error.finite = all_finite(weights);
    if (!error.finite) return;
    IntegerRows rows(layout, count);
    rounder.round(compute, thread, weights, rows);
    for (std::int64_t r = 0; r < count; r += kRowBlock) {
      pack_block(rows, r, (first + r) / kRowBlock, out);
    }
    error = error_of(weights, rows);
  });
  for (const RoundingError& error : errors) out.error += error;  // in order
  return out;
}

}  // namespace nibble
