// The float32 product that matmul and attention share: a tile of rows x (2 vectors of) columns kept
// in registers. Include the set's simd.h first.
#pragma once

namespace nibble {
namespace {

constexpr int kTileVectors = 2;
constexpr std::int64_t kPrefetchRows = 32;  // of the panel, ahead of the one at hand
constexpr std::int64_t kTileCols = kTileVectors * kLanes;

// The sums of a tile, from and to memory; `width` of the columns exist.
template <int kRows>
void clear_tile(Vec (&sums)[kRows][kTileVectors]) {
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kTileVectors; ++v) sums[r][v] = zero();
  }
}

template <int kRows>
void load_tile(const float* out, std::int64_t stride, std::int64_t width,
               Vec (&sums)[kRows][kTileVectors]) {
#pragma GCC unroll 2
  for (int v = 0; v < kTileVectors; ++v) {
    const Part part = first_lanes(width - v * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) sums[r][v] = load(out + r * stride + v * kLanes, part);
  }
}

template <int kRows>
void store_tile(float* out, std::int64_t stride, std::int64_t width,
                const Vec (&sums)[kRows][kTileVectors]) {
#pragma GCC unroll 2
  for (int v = 0; v < kTileVectors; ++v) {
    const Part part = first_lanes(width - v * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) store(out + r * stride + v * kLanes, sums[r][v], part);
  }
}

// out (rows, width) = x (rows, depth) . panel (depth, kTileCols), or += if `accumulate`.
template <typename Element>
struct TileTask {
  const float* x;
  std::int64_t x_stride;
  const Element* panel;  // float32, or bfloat16 widened on the way
  std::int64_t panel_stride;
  std::int64_t depth;
  float* out;
  std::int64_t out_stride;
  std::int64_t width;  // columns to write, at most kTileCols
  bool accumulate;
};

template <int kRows, typename Element>
void multiply_tile(const TileTask<Element>& task) {
  Vec sums[kRows][kTileVectors];
  if (task.accumulate) {
    load_tile(task.out, task.out_stride, task.width, sums);
  } else {
    clear_tile(sums);
  }
  const float* x = task.x;
  const Element* panel = task.panel;
  const std::int64_t x_stride = task.x_stride;
  for (std::int64_t k = 0; k < task.depth; ++k, ++x, panel += task.panel_stride) {
    Vec w[kTileVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kTileVectors; ++v) w[v] = load(panel + v * kLanes);
    prefetch(panel + kPrefetchRows * task.panel_stride);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Vec factor = broadcast(x[r * x_stride]);
#pragma GCC unroll 2
      for (int v = 0; v < kTileVectors; ++v) sums[r][v] = fma(factor, w[v], sums[r][v]);
    }
  }
  store_tile(task.out, task.out_stride, task.width, sums);
}

// The instance for a number of rows up to kTileRows.
template <int kRows = kTileRows, typename Element>
void multiply_tile(const TileTask<Element>& task, std::int64_t rows) {
  if constexpr (kRows > 0) {
    if (rows == kRows) return multiply_tile<kRows>(task);
    multiply_tile<kRows - 1>(task, rows);
  }
}

// How many of `rows` rows the next tile takes: tiles of nearly the same size, since one of a row or
// two leaves the multipliers waiting for its few sums.
inline std::int64_t next_tile(std::int64_t rows) {
  const std::int64_t tiles = (rows + kTileRows - 1) / kTileRows;
  return (rows + tiles - 1) / tiles;
}

}  // namespace
}  // namespace nibble
