// The product of two row-major matrices, in float32 and in double: some columns of b are copied
// side by side into a panel, which all rows of a are multiplied with, a tile in registers at a
// time. Include the set's simd.h first.
#pragma once

#include "nibble/kernels/kernel_set.h"
#include "nibble/kernels/vector/tile.h"

namespace nibble {
namespace {

constexpr std::int64_t kGemmDepth = 512;  // of a panel, which stays in the second-level cache
template <typename Element>
constexpr int kGemmLanes = kLanes * 4 / static_cast<int>(sizeof(Element));
template <typename Element>
constexpr int kGemmCols = 2 * kGemmLanes<Element>;

template <typename Element>
struct GemmTile {
  const Element* a;
  std::int64_t a_stride;
  const Element* panel;  // (depth, kGemmCols)
  std::int64_t depth;
  Element* out;  // (rows, kGemmCols)
  std::int64_t out_stride;
};

template <int kRows, typename Element>
void multiply_gemm_tile(const GemmTile<Element>& tile) {
  constexpr int kWidth = kGemmLanes<Element>;
  using Vector = decltype(load(tile.panel));
  Vector sums[kRows][2];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    sums[r][0] = load(tile.out + r * tile.out_stride);
    sums[r][1] = load(tile.out + r * tile.out_stride + kWidth);
  }
  const Element* a = tile.a;
  const Element* panel = tile.panel;
  const std::int64_t a_stride = tile.a_stride;
  for (std::int64_t k = 0; k < tile.depth; ++k, ++a, panel += 2 * kWidth) {
    const Vector b0 = load(panel);
    const Vector b1 = load(panel + kWidth);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Vector factor = broadcast(a[r * a_stride]);
      sums[r][0] = fma(factor, b0, sums[r][0]);
      sums[r][1] = fma(factor, b1, sums[r][1]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    store(tile.out + r * tile.out_stride, sums[r][0]);
    store(tile.out + r * tile.out_stride + kWidth, sums[r][1]);
  }
}

// The instance for a number of rows up to kTileRows.
template <int kRows = kTileRows, typename Element>
void multiply_gemm_tile(const GemmTile<Element>& tile, std::int64_t rows) {
  if constexpr (kRows > 0) {
    if (rows == kRows) return multiply_gemm_tile<kRows>(tile);
    multiply_gemm_tile<kRows - 1>(tile, rows);
  }
}

template <typename Element>
void copy_elements(const Element* from, std::int64_t from_stride, std::int64_t rows,
                   std::int64_t cols, Element* to, std::int64_t to_stride) {
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < cols; ++c) to[r * to_stride + c] = from[r * from_stride + c];
  }
}

// A tile of which only the first `width` columns exist: by way of one that has all.
template <typename Element>
void multiply_gemm_edge(GemmTile<Element> tile, std::int64_t rows, std::int64_t width) {
  Element whole[kTileRows * kGemmCols<Element>] = {};
  Element* const out = tile.out;
  const std::int64_t out_stride = tile.out_stride;
  copy_elements<Element>(out, out_stride, rows, width, whole, kGemmCols<Element>);
  tile.out = whole;
  tile.out_stride = kGemmCols<Element>;
  multiply_gemm_tile(tile, rows);
  copy_elements<Element>(whole, kGemmCols<Element>, rows, width, out, out_stride);
}

// Columns col .. col + width, rows begin .. begin + depth of b; zeros for columns that are missing.
template <typename Element>
void fill_gemm_panel(const GemmTask<Element>& task, std::int64_t begin, std::int64_t depth,
                     std::int64_t col, Element* panel) {
  constexpr int kCols = kGemmCols<Element>;
  const Element* from = task.b + begin * task.b_stride + col;
  const std::int64_t width = task.cols - col;
  for (std::int64_t k = 0; k < depth; ++k, from += task.b_stride, panel += kCols) {
    if (width >= kCols) {
      store(panel, load(from));
      store(panel + kGemmLanes<Element>, load(from + kGemmLanes<Element>));
    } else {
      for (std::int64_t c = 0; c < kCols; ++c) panel[c] = c < width ? from[c] : Element{0};
    }
  }
}

template <typename Element>
void multiply_gemm(const GemmTask<Element>& task) {
  constexpr int kCols = kGemmCols<Element>;
  static_assert(kGemmDepth * kCols * sizeof(Element) <= kGemmScratchBytes);
  auto* panel = reinterpret_cast<Element*>(task.scratch);
  for (std::int64_t begin = 0; begin < task.depth; begin += kGemmDepth) {
    const std::int64_t left = task.depth - begin;
    const std::int64_t depth = left < kGemmDepth ? left : kGemmDepth;
    for (std::int64_t col = 0; col < task.cols; col += kCols) {
      fill_gemm_panel(task, begin, depth, col, panel);
      for (std::int64_t row = 0; row < task.rows;) {
        const std::int64_t rows = next_tile(task.rows - row);
        const GemmTile<Element> tile{
            task.a + row * task.a_stride + begin,   task.a_stride,  panel, depth,
            task.out + row * task.out_stride + col, task.out_stride};
        if (task.cols - col >= kCols) {
          multiply_gemm_tile(tile, rows);
        } else {
          multiply_gemm_edge(tile, rows, task.cols - col);
        }
        row += rows;
      }
    }
  }
}

}  // namespace
}  // namespace nibble
