#include "nibble/quant/rounders/round_matrix.h"

#include <algorithm>
#include <cmath>

#include "nibble/weights/weight_parts.h"

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
      if (rows.has_groups && (!above || !below)) ++error.clipped_groups;
    }
  }
  return error;
}

/// Packs 16 rows of `rows` from `first` on as block `block` of the matrix.
void pack_block(const IntegerRows& rows, std::int64_t first, std::int64_t block,
                PackedMatrix& out) {
  const WeightCodec& codec = codec_of(out.layout.format);
  const std::int64_t count = std::min(kRowBlock, rows.rows - first);
  IntegerBlock integers(rows.cols, rows.groups());
  std::copy_n(rows.q_row(first), count * rows.cols, integers.q.data());
  for (std::int64_t r = 0; r < count; ++r) {
    for (std::int64_t g = 0; g < rows.groups(); ++g) {
      const IntegerGrid grid = rows.grid(first + r, g);
      const auto at = static_cast<std::size_t>(g * kRowBlock + r);
      integers.scales[at] = grid.scale;
      integers.zeros[at] = static_cast<std::uint8_t>(grid.zero);
    }
  }
  BlockSpans spans;
  const PartLayouts parts = codec.parts(out.layout);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto size = static_cast<std::size_t>(parts[i].block_bytes());
    spans[i] = std::span(out.parts[i]).subspan(static_cast<std::size_t>(block) * size, size);
  }
  codec.pack(out.layout, integers, spans);
}

}  // namespace

WeightView PackedMatrix::view() const {
  std::array<const std::byte*, kWeightParts> data = {};
  for (std::size_t i = 0; i < kWeightParts; ++i) {
    if (!parts[i].empty()) data[i] = parts[i].data();
  }
  return with_parts_at(layout, data);
}

float largest_magnitude(Compute& compute, const WeightLayout& layout, RowReader read) {
  const std::int64_t pieces = (layout.rows + kRowsAtATime - 1) / kRowsAtATime;
  std::vector<float> largest(static_cast<std::size_t>(pieces));
  compute.pool().parallel_for(pieces, [&](std::int64_t piece, int) {
    const std::int64_t first = piece * kRowsAtATime;
    const std::int64_t count = std::min(kRowsAtATime, layout.rows - first);
    std::vector<float> weights(static_cast<std::size_t>(count * layout.cols));
    read(first, count, weights);
    float most = 0;
    for (const float w : weights) most = std::max(most, std::abs(w));
    largest[static_cast<std::size_t>(piece)] = most;
  });
  return *std::max_element(largest.begin(), largest.end());
}

PackedMatrix round_matrix(Compute& compute, const RowRounder& rounder, const WeightLayout& layout,
                          RowReader read, float largest) {
  PackedMatrix out{.layout = layout, .parts = {}};
  const PartLayouts parts = codec_of(layout.format).parts(layout);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    out.parts[i].resize(static_cast<std::size_t>(block_count(layout) * parts[i].block_bytes()));
  }
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
    rows.largest = largest;
    rounder.round(compute, thread, weights, rows);
    error.finite = all_finite(rows.scales);  // not where a range is beyond float32
    if (!error.finite) return;
    for (std::int64_t r = 0; r < count; r += kRowBlock) {
      pack_block(rows, r, (first + r) / kRowBlock, out);
    }
    error = error_of(weights, rows);
  });
  for (const RoundingError& error : errors) out.error += error;  // in order
  return out;
}

}  // namespace nibble
