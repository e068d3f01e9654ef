// Matrix products for many tokens (prefill) in float32: some rows of the weights are unpacked once
// into panels in scratch, which every token is then multiplied with, a tile in registers at a time.
// Include the set's simd.h and codes.h first.
#pragma once

#include "nibble/kernels/kernel_set.h"
#include "nibble/kernels/vector/matmul_few.h"
#include "nibble/kernels/vector/tile.h"

namespace nibble {
namespace {

// 128 KiB of panels, which stay in the second-level cache.
constexpr std::int64_t kPanelRows = kPanelTiles * kTileCols;
constexpr std::int64_t kPanelDepth = 32768 / kPanelRows;  // a multiple of every group size

// Columns begin .. begin + depth of up to 16 packed rows as w' = (q - zero) * scale, which float32
// holds exactly, to out[c * kTileCols + r].
template <int kBits>
void unpack_block(const WeightView& weight, std::int64_t row, std::int64_t begin,
                  std::int64_t depth, float* out) {
  const PackedBlock block = packed_block<kBits>(weight, row);
  const std::uint8_t* codes = block.codes + begin * 2 * kBits;
  const std::int64_t group_size = weight.group_size;
  for (std::int64_t g = begin / group_size; g < (begin + depth) / group_size; ++g) {
    Vec scale[kBlockVectors];
    Vec offset[kBlockVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kBlockVectors; ++v) {
      scale[v] = load_scales(block, g, v);
      offset[v] = scale[v] * load_zeros<kBits>(block.zeros + g * 2 * kBits, v);
    }
    for (std::int64_t c = 0; c < group_size; c += Codes<kBits>::kCols) {
      const Codes<kBits> unpacked(codes);
      codes += Codes<kBits>::kBytes;
#pragma GCC unroll 32
      for (int i = 0; i < Codes<kBits>::kCols; ++i, out += kTileCols) {
#pragma GCC unroll 2
        for (int v = 0; v < kBlockVectors; ++v) {
          store(out + v * kLanes, multiply_subtract(unpacked.column(i, v), scale[v], offset[v]));
        }
      }
    }
  }
}

// The same of w8, as q: its scales come last (scale_rows).
inline void unpack_w8_block(const WeightView& weight, std::int64_t row, std::int64_t begin,
                            std::int64_t depth, float* out) {
  const std::uint8_t* codes = w8_block(weight, row) + begin / 4 * 64;
  for (std::int64_t c = 0; c < depth; c += 4, codes += 64) {
    const Codes<8> unpacked(codes);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i, out += kTileCols) {
#pragma GCC unroll 2
      for (int v = 0; v < kBlockVectors; ++v) store(out + v * kLanes, unpacked.column(i, v));
    }
  }
}

// Multiplies finished sums of rows row .. row + rows with the scales of their rows.
inline void scale_rows(const MatmulTask& task, std::int64_t row, std::int64_t rows) {
  for (std::int64_t r = 0; r < rows; r += kLanes) {
    const Part part = first_lanes(rows - r);
    const Vec scale = load(w8_scales(task.weight, row) + r, part);
    for (std::int64_t t = 0; t < task.tokens; ++t) {
      float* out = task.out + t * task.out_stride + row + r;
      store(out, load(out, part) * scale, part);
    }
  }
}

template <typename Element>
void transpose_weights(const WeightView& weight, std::int64_t row, std::int64_t rows,
                       std::int64_t begin, std::int64_t depth, float* out) {
  const auto* elements = static_cast<const Element*>(weight.parts[kCodesPart]);
  for (std::int64_t v = 0; v < kTileCols && v < rows; v += kLanes) {
    transpose_rows(elements + (row + v) * weight.cols + begin, weight.cols, rows - v, depth,
                   out + v, kTileCols);
  }
}

// Up to kTileCols rows as a panel (depth, kTileCols); columns of rows that are not there may be
// left as they were, nothing of them is kept.
template <WeightFormat format>
void fill_panel(const WeightView& weight, std::int64_t row, std::int64_t rows, std::int64_t begin,
                std::int64_t depth, float* panel) {
  if constexpr (format == WeightFormat::kF32) {
    transpose_weights<float>(weight, row, rows, begin, depth, panel);
  } else if constexpr (format == WeightFormat::kF16) {
    transpose_weights<Float16>(weight, row, rows, begin, depth, panel);
  } else if constexpr (format == WeightFormat::kBF16) {
    transpose_weights<BFloat16>(weight, row, rows, begin, depth, panel);
  } else if constexpr (format == WeightFormat::kW8) {
    for (std::int64_t r = 0; r < kTileCols && r < rows; r += 16) {
      unpack_w8_block(weight, row + r, begin, depth, panel + r);
    }
  } else {
    for (std::int64_t r = 0; r < kTileCols && r < rows; r += 16) {
      unpack_block<format == WeightFormat::kW4 ? 4 : 3>(weight, row + r, begin, depth, panel + r);
    }
  }
}

// Where a tile's activations lie as float32: in place, or widened into `space`.
inline const float* float_rows(const float* x, std::int64_t&, std::int64_t, std::int64_t, float*) {
  return x;
}
inline const float* float_rows(const BFloat16* x, std::int64_t& stride, std::int64_t tokens,
                               std::int64_t depth, float* space) {
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t c = 0; c < depth; c += kLanes) {
      const Part part = first_lanes(depth - c);
      store(space + t * kPanelDepth + c, load(x + t * stride + c, part), part);
    }
  }
  stride = kPanelDepth;
  return space;
}

// Every token with the panels of rows row .. row + rows, columns begin .. begin + depth.
template <typename Activation>
void multiply_panels(const MatmulTask& task, std::int64_t row, std::int64_t rows,
                     std::int64_t begin, std::int64_t depth) {
  auto* panels = reinterpret_cast<float*>(task.scratch);
  float* widened = panels + kPanelRows * kPanelDepth;
  std::int64_t t = 0;
  while (t < task.tokens) {
    const std::int64_t tokens = next_tile(task.tokens - t);
    std::int64_t x_stride = task.x_stride;
    const float* x = float_rows(static_cast<const Activation*>(task.x) + t * x_stride + begin,
                                x_stride, tokens, depth, widened);
    for (std::int64_t r = 0; r < rows; r += kTileCols) {
      multiply_tile(TileTask<float>{.x = x,
                                    .x_stride = x_stride,
                                    .panel = panels + r * kPanelDepth,
                                    .panel_stride = kTileCols,
                                    .depth = depth,
                                    .out = task.out + t * task.out_stride + row + r,
                                    .out_stride = task.out_stride,
                                    .width = rows - r < kTileCols ? rows - r : kTileCols,
                                    .accumulate = begin > 0},
                    tokens);
    }
    t += tokens;
  }
}

template <WeightFormat format, typename Activation>
void multiply_many(const MatmulTask& task) {
  auto* panels = reinterpret_cast<float*>(task.scratch);
  const std::int64_t cols = task.weight.cols;
  for (std::int64_t row = task.row_begin; row < task.row_end; row += kPanelRows) {
    const std::int64_t left = task.row_end - row;
    const std::int64_t rows = left < kPanelRows ? left : kPanelRows;
    for (std::int64_t begin = 0; begin < cols; begin += kPanelDepth) {
      const std::int64_t depth = cols - begin < kPanelDepth ? cols - begin : kPanelDepth;
      for (std::int64_t r = 0; r < rows; r += kTileCols) {
        fill_panel<format>(task.weight, row + r, rows - r, begin, depth, panels + r * kPanelDepth);
      }
      multiply_panels<Activation>(task, row, rows, begin, depth);
    }
    if constexpr (format == WeightFormat::kW8) scale_rows(task, row, rows);
  }
}

inline std::size_t many_scratch_bytes() {
  return static_cast<std::size_t>((kPanelRows + kTileRows) * kPanelDepth) * sizeof(float);
}

}  // namespace
}  // namespace nibble
