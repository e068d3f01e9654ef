// One tile of queries against one chunk of the KV cache. Scores and weighted values are products of
// the same tiles as in matmul: the keys are transposed into a panel (head_dim, kTileCols
// positions), the values are one as they lie. Include the set's simd.h first.
#pragma once

#include "nibble/kernels/kernel_set.h"
#include "nibble/kernels/vector/exp.h"
#include "nibble/kernels/vector/tile.h"

namespace nibble {
namespace {

// The parts of the scratch memory.
struct AttentionScratch {
  float* queries;  // (rows, head_dim), scaled
  float* scores;   // (rows, kAttentionMaxPositions)
  float* panel;    // (max(head_dim, positions), kTileCols)
};

inline std::int64_t round_up(std::int64_t n, std::int64_t unit) {
  return (n + unit - 1) / unit * unit;
}

inline std::size_t attention_scratch_size(std::int64_t head_dim) {
  const std::int64_t panel_depth =
      head_dim > kAttentionMaxPositions ? head_dim : kAttentionMaxPositions;
  const std::int64_t floats = kAttentionMaxRows * round_up(head_dim, 16) +
                              kAttentionMaxRows * kAttentionMaxPositions + panel_depth * kTileCols;
  return static_cast<std::size_t>(floats) * sizeof(float);
}

inline AttentionScratch attention_scratch(const AttentionTask& task) {
  auto* queries = reinterpret_cast<float*>(task.scratch);
  float* scores = queries + kAttentionMaxRows * round_up(task.head_dim, 16);
  return {queries, scores, scores + kAttentionMaxRows * kAttentionMaxPositions};
}

inline std::int64_t visible_to(const AttentionTask& task, std::int64_t token) {
  const std::int64_t visible = task.visible + token;
  return visible < task.positions ? visible : task.positions;
}

// The first token that sees more than `position` positions.
inline std::int64_t first_token_past(const AttentionTask& task, std::int64_t position) {
  const std::int64_t token = position + 1 - task.visible;
  return token > 0 ? token : 0;
}

// The first n scores of a row of `token`: those of positions that its window has left behind become
// -inf.
inline void hide_passed(const AttentionTask& task, std::int64_t token, std::int64_t n,
                        float* scores) {
  const std::int64_t passed = task.passed + token < n ? task.passed + token : n;
  for (std::int64_t i = 0; i < passed; ++i) scores[i] = -__builtin_inff();
}

inline void gather_queries(const AttentionTask& task, std::int64_t first_token, float* queries) {
  const Vec scale = broadcast(task.scale);
  for (std::int64_t t = first_token; t < task.tokens; ++t) {
    const float* q = task.q + t * task.q_stride;  // a token's heads lie side by side
    float* out = queries + t * task.heads * task.head_dim;
    const std::int64_t n = task.heads * task.head_dim;
    for (std::int64_t i = 0; i < n; i += kLanes) {
      const Part part = first_lanes(n - i);
      store(out + i, load(q + i, part) * scale, part);
    }
  }
}

// Scores of every row against the positions below `span`, in strips of kTileCols; rows that see
// none of a strip are left out.
template <typename Cache>
void compute_scores(const AttentionTask& task, std::int64_t span, const AttentionScratch& scratch) {
  const auto* keys = static_cast<const Cache*>(task.keys);
  const std::int64_t rows = task.tokens * task.heads;
  for (std::int64_t begin = 0; begin < span; begin += kTileCols) {
    for (std::int64_t v = 0; v < kTileCols; v += kLanes) {
      const std::int64_t left = span - begin - v;
      const std::int64_t positions = left < 0 ? 0 : left < kLanes ? left : kLanes;
      const Cache* source = keys + (positions > 0 ? begin + v : begin) * task.head_dim;
      transpose_rows(source, task.head_dim, positions, task.head_dim, scratch.panel + v, kTileCols);
    }
    std::int64_t row = first_token_past(task, begin) * task.heads;
    while (row < rows) {
      const std::int64_t count = next_tile(rows - row);
      multiply_tile(TileTask<float>{.x = scratch.queries + row * task.head_dim,
                                    .x_stride = task.head_dim,
                                    .panel = scratch.panel,
                                    .panel_stride = kTileCols,
                                    .depth = task.head_dim,
                                    .out = scratch.scores + row * kAttentionMaxPositions + begin,
                                    .out_stride = kAttentionMaxPositions,
                                    .width = kTileCols,
                                    .accumulate = false},
                    count);
      row += count;
    }
  }
}

// x[p] *= factors[p] for n elements.
inline void multiply_elements(float* x, const float* factors, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += kLanes) {
    const Part part = first_lanes(n - i);
    store(x + i, load(x + i, part) * load(factors + i, part), part);
  }
}

inline float max_of_scores(const float* scores, std::int64_t n, float old_max) {
  Vec lanes = broadcast(old_max);
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) lanes = max(load(scores + i), lanes);
  float result = max_of(lanes);
  for (; i < n; ++i) result = scores[i] > result ? scores[i] : result;
  return result;
}

// Turns a row's n scores into weights exp(score - max) and brings its running maximum, sum and
// weighted values up to the new maximum. The weights from n to `span` become zeros.
inline void weigh_row(const AttentionTask& task, std::int64_t row, std::int64_t n,
                      std::int64_t span, float* scores) {
  const float old_max = task.max[row];
  const float new_max = max_of_scores(scores, n, old_max);
  // Only -inf so far: nothing to weigh, and -inf - -inf would make NaN of it.
  const float shift = new_max == -__builtin_inff() ? 0.0F : new_max;
  Vec sums = zero();
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Vec weights = exp(load(scores + i) - broadcast(shift));
    store(scores + i, weights);
    sums = sums + weights;
  }
  float rest = 0;
  if (i < n) {
    const Part part = first_lanes(n - i);
    store(scores + i, exp(load(scores + i, part) - broadcast(shift)), part);
    for (; i < n; ++i) rest += scores[i];
  }
  for (; i < span; ++i) scores[i] = 0;
  task.max[row] = new_max;
  if (old_max == new_max) {
    task.sum[row] += sum_of(sums) + rest;
    return;
  }
  const float correction = __builtin_expf(old_max - shift);
  task.sum[row] = task.sum[row] * correction + (sum_of(sums) + rest);
  float* acc = task.acc + row * task.head_dim;
  for (std::int64_t d = 0; d < task.head_dim; d += kLanes) {
    const Part part = first_lanes(task.head_dim - d);
    store(acc + d, load(acc + d, part) * broadcast(correction), part);
  }
}

// acc[:, begin .. begin + width] += weights . values, `values` being a panel of kTileCols columns.
template <typename Element>
void add_values(const AttentionTask& task, const float* weights, const TileTask<Element>& columns,
                std::int64_t first_row) {
  const std::int64_t rows = task.tokens * task.heads;
  std::int64_t row = first_row;
  while (row < rows) {
    const std::int64_t count = next_tile(rows - row);
    TileTask<Element> tile = columns;
    tile.x = weights + row * kAttentionMaxPositions;
    tile.out += row * task.head_dim;
    tile.depth = visible_to(task, (row + count - 1) / task.heads);  // what its last row sees
    multiply_tile(tile, count);
    row += count;
  }
}

// The values' columns begin .. begin + width as float32 panel; what is past them becomes zeros.
template <typename Cache>
void widen_values(const AttentionTask& task, std::int64_t span, std::int64_t begin,
                  std::int64_t width, float* panel) {
  const Cache* source = static_cast<const Cache*>(task.values) + begin;
  for (std::int64_t p = 0; p < span; ++p) {
    for (std::int64_t v = 0; v < kTileCols; v += kLanes) {
      store(panel + p * kTileCols + v,
            load(source + p * task.head_dim + (v < width ? v : 0), first_lanes(width - v)));
    }
  }
}

template <typename Cache>
void weigh_values(const AttentionTask& task, std::int64_t span, std::int64_t first_row,
                  const AttentionScratch& scratch) {
  const bool one_tile = task.tokens * task.heads - first_row <= kTileRows;
  for (std::int64_t begin = 0; begin < task.head_dim; begin += kTileCols) {
    const std::int64_t left = task.head_dim - begin;
    const std::int64_t width = left < kTileCols ? left : kTileCols;
    float* out = task.acc + begin;
    // Used once, the values are widened on the way into the product.
    if (one_tile && width == kTileCols) {
      const auto* values = static_cast<const Cache*>(task.values) + begin;
      add_values(task, scratch.scores,
                 TileTask<Cache>{nullptr, kAttentionMaxPositions, values, task.head_dim, 0, out,
                                 task.head_dim, width, true},
                 first_row);
    } else {
      widen_values<Cache>(task, span, begin, width, scratch.panel);
      add_values(task, scratch.scores,
                 TileTask<float>{nullptr, kAttentionMaxPositions, scratch.panel, kTileCols, 0, out,
                                 task.head_dim, width, true},
                 first_row);
    }
  }
}

template <typename Cache>
void attend(const AttentionTask& task) {
  const std::int64_t first_token = first_token_past(task, 0);  // those before see nothing
  if (first_token >= task.tokens || task.positions <= 0) return;
  const AttentionScratch scratch = attention_scratch(task);
  const std::int64_t span = visible_to(task, task.tokens - 1);
  gather_queries(task, first_token, scratch.queries);
  compute_scores<Cache>(task, span, scratch);
  for (std::int64_t row = first_token * task.heads; row < task.tokens * task.heads; ++row) {
    const std::int64_t n = visible_to(task, row / task.heads);
    float* scores = scratch.scores + row * kAttentionMaxPositions;
    constexpr bool kHasScales = sizeof(Cache) == 1;  // int8 keys and values
    if constexpr (kHasScales) multiply_elements(scores, task.key_scales, n);
    hide_passed(task, row / task.heads, n, scores);
    weigh_row(task, row, n, span, scores);
    if constexpr (kHasScales) multiply_elements(scores, task.value_scales, n);
  }
  weigh_values<Cache>(task, span, first_token * task.heads, scratch);
}

}  // namespace
}  // namespace nibble
