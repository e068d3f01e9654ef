// Matrix products with int8 activations (kernel_set.h: matmul_int8): bytes of weights times codes
// of activations, summed in int32 over a group, whose sum then takes its scales in float32. Include
// the set's int8.h first.
#pragma once

#include "nibble/kernels/kernel_set.h"
#include "nibble/kernels/vector/matmul_few.h"
#include "nibble/kernels/vector/tile.h"

namespace nibble {
namespace {

// What takes sums by reference is inlined always: out of line they would live in memory.

// The groups of a weight matrix: their number, and columns of each in the packed layout. A row of
// w8 is one.
struct Groups {
  std::int64_t count;
  std::int64_t cols;
};
template <int kBits>
Groups groups_of(const WeightView& weight) {
  if constexpr (kBits == 8) {
    return {1, (weight.cols + 3) / 4 * 4};
  } else {
    return {weight.cols / weight.group_size, weight.group_size};
  }
}

// A block of 16 rows; of w8 only the codes.
template <int kBits>
PackedBlock int8_block(const WeightView& weight, std::int64_t row) {
  if constexpr (kBits == 8) {
    return {w8_block(weight, row), nullptr, nullptr, nullptr};
  } else {
    return packed_block<kBits>(weight, row);
  }
}

// The zero points of a group of a block as pairs of int16: (zero, 0).
template <int kBits>
Ints load_zero_pairs(const PackedBlock& block, std::int64_t group, int v) {
  if constexpr (kBits == 8) {
    return broadcast_int(Dot<8>::kZero);
  } else {
    return ints(load_zero_ints<kBits>(block.zeros + group * 2 * kBits, v));
  }
}

// zero * code_sum. Where there are groups |code_sum| is at most 127 * 128, an int16.
template <int kBits>
Ints zero_product(Ints zeros, std::int32_t code_sum) {
  if constexpr (kBits == 8) {
    return zeros * code_sum;
  } else {
    return multiply_pairs(zeros, broadcast_int(code_sum));
  }
}

// totals += (scale * x_scale) * (sum - zero * code_sum) for one group.
template <int kBits, int kTokens>
[[gnu::always_inline]] inline void add_int8_group(const MatmulTask& task, const PackedBlock& block,
                                                  std::int64_t row, std::int64_t group,
                                                  const Ints (&sums)[kTokens][kBlockVectors],
                                                  Vec (&totals)[kTokens][kBlockVectors]) {
  const std::int64_t groups = groups_of<kBits>(task.weight).count;
#pragma GCC unroll 2
  for (int v = 0; v < kBlockVectors; ++v) {
    const Vec scale =
        kBits == 8 ? load(task.weight.row_scales + row + v * kLanes) : load_scales(block, group, v);
    const Ints zeros = load_zero_pairs<kBits>(block, group, v);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      const std::int64_t at = t * groups + group;
      const Ints offset = zero_product<kBits>(zeros, task.x_code_sums[at]);
      totals[t][v] =
          fma(scale * broadcast(task.x_scales[at]), to_floats(sums[t][v] - offset), totals[t][v]);
    }
  }
}

// Columns whose products a Dot sums in int16 before they go to int32, where it does.
constexpr std::int64_t kPartialCols = 32;

// Adds the products of the chunk at `codes`, its groups of four columns to several chains in turn,
// and moves on to the next chunk.
template <int kBits, int kChains, int kTokens, typename Sum>
[[gnu::always_inline]] inline void dot_chunk(const std::uint8_t*& codes,
                                             const std::int8_t* (&x)[kTokens], int first,
                                             Sum (&chains)[kChains][kTokens][kBlockVectors]) {
  prefetch_codes<kBits>(codes);
  const Codes<kBits> unpacked(codes);
  codes += Codes<kBits>::kBytes;
  // Without this GCC keeps an address for each of a chunk's loads in place of one a token.
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) asm("" : "+r"(x[t]));
#pragma GCC unroll 8
  for (int i = 0; i < Codes<kBits>::kCols / 4; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < kBlockVectors; ++v) {
      const auto weights = Dot<kBits>::weights(unpacked.bytes(i, v));
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        Sum& sum = chains[(first + i) % kChains][t][v];
        sum = Dot<kBits>::add(sum, weights, broadcast_bytes(x[t] + 4 * i));
      }
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) x[t] += Codes<kBits>::kCols;
}

// sum(q * code) of one group and block of rows, in several chains for few tokens as in sum_group.
template <int kBits, int kTokens>
[[gnu::always_inline]] inline void dot_group(const std::uint8_t* codes, const std::int8_t* x,
                                             std::int64_t x_stride, std::int64_t cols,
                                             Ints (&sums)[kTokens][kBlockVectors]) {
  constexpr int kSums = kTokens * kBlockVectors;
  constexpr int kChains = kSums <= 2 ? 4 : kSums <= 4 ? 2 : 1;
  constexpr int kSteps = Codes<kBits>::kCols / 4;
  constexpr int kChunks = kSteps < kChains ? kChains / kSteps : 1;  // so that each chain has a step
  constexpr int kCols = kChunks * Codes<kBits>::kCols;
  Ints chains[kChains][kTokens][kBlockVectors];
#pragma GCC unroll 4
  for (int i = 0; i < kChains; ++i) {
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
      for (int v = 0; v < kBlockVectors; ++v) chains[i][t][v] = Ints{};
    }
  }
  const std::int8_t* rows[kTokens];
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) rows[t] = x + t * x_stride;
  std::int64_t c = 0;
  if constexpr (Dot<kBits>::kInt16) {
    for (; c < cols; c += kPartialCols) {
      typename Dot<kBits>::Sum partial[1][kTokens][kBlockVectors] = {};
#pragma GCC unroll 4
      for (int j = 0; j < kPartialCols; j += Codes<kBits>::kCols) {
        dot_chunk<kBits>(codes, rows, 0, partial);
      }
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
        for (int v = 0; v < kBlockVectors; ++v) {
          chains[0][t][v] += Dot<kBits>::widen(partial[0][t][v]);
        }
      }
    }
  } else {
    for (; c + kCols <= cols; c += kCols) {
#pragma GCC unroll 4
      for (int j = 0; j < kChunks; ++j) dot_chunk<kBits>(codes, rows, j * kSteps, chains);
    }
  }
  if constexpr (kBits == 8) {  // the others' groups have a multiple of 32 columns
    for (; c < cols; c += 4) dot_chunk<kBits>(codes, rows, 0, chains);
  }
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
    for (int v = 0; v < kBlockVectors; ++v) {
      sums[t][v] = chains[0][t][v];
#pragma GCC unroll 4
      for (int i = 1; i < kChains; ++i) sums[t][v] += chains[i][t][v];
    }
  }
}

template <int kBits, int kTokens>
void few_int8(const MatmulTask& task) {
  const auto* x = static_cast<const std::int8_t*>(task.x);
  const Groups groups = groups_of<kBits>(task.weight);
  const std::int64_t group_bytes = groups.cols * 2 * kBits;  // of 16 rows
  for (std::int64_t row = task.row_begin; row < task.row_end; row += 16) {
    const PackedBlock block = int8_block<kBits>(task.weight, row);
    Vec totals[kTokens][kBlockVectors];
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
      for (int v = 0; v < kBlockVectors; ++v) totals[t][v] = zero();
    }
    for (std::int64_t g = 0; g < groups.count; ++g) {
      Ints sums[kTokens][kBlockVectors];
      dot_group<kBits, kTokens>(block.codes + g * group_bytes, x + g * groups.cols, task.x_stride,
                                groups.cols, sums);
      add_int8_group<kBits, kTokens>(task, block, row, g, sums, totals);
    }
    store_block<kTokens>(task, row, totals);
  }
}

// The instance for the task's number of tokens, up to kFewTokens.
template <int kBits, int kTokens = kFewTokens>
void multiply_few_int8(const MatmulTask& task) {
  if constexpr (kTokens > 0) {
    if (task.tokens == kTokens) return few_int8<kBits, kTokens>(task);
    multiply_few_int8<kBits, kTokens - 1>(task);
  }
}

// Many tokens: kTileCols rows at a time are unpacked to bytes in scratch, 64 bytes a block of 16
// rows and 4 columns, together with their scales and zero points. w8 lies so already.
constexpr std::int64_t kInt8Depth = 4096;  // columns, a multiple of every group size
constexpr std::int64_t kInt8Blocks = kTileCols / 16;
constexpr std::int64_t kMinGroup = 32;

struct Int8Panel {
  std::uint8_t bytes[kInt8Blocks][kInt8Depth * 16];
  float scales[kInt8Depth / kMinGroup][kTileCols];
  std::int32_t minus_zeros[kInt8Depth / kMinGroup][kTileCols];  // pairs of int16: (-zero, 0)
  float totals[kInt8Tokens][kTileCols];                         // of the tile at hand
};

template <int kBits>
void unpack_bytes(const std::uint8_t* codes, std::int64_t depth, std::uint8_t* out) {
  for (std::int64_t c = 0; c < depth; c += Codes<kBits>::kCols) {
    const Codes<kBits> unpacked(codes);
    codes += Codes<kBits>::kBytes;
#pragma GCC unroll 8
    for (int i = 0; i < Codes<kBits>::kCols / 4; ++i, out += 64) {
#pragma GCC unroll 2
      for (int v = 0; v < kBlockVectors; ++v) {
        store_bytes(out + v * 64 / kBlockVectors, unpacked.bytes(i, v));
      }
    }
  }
}

// Columns begin .. begin + depth of up to kTileCols rows; where there are no more than 16, what
// stands for the others does not matter.
template <int kBits>
void fill_int8_panel(const WeightView& weight, std::int64_t row, std::int64_t rows,
                     std::int64_t begin, std::int64_t depth, Int8Panel& panel) {
  const std::int64_t first = begin / weight.group_size;
  for (std::int64_t b = 0; b < kInt8Blocks && 16 * b < rows; ++b) {
    const PackedBlock block = packed_block<kBits>(weight, row + 16 * b);
    unpack_bytes<kBits>(block.codes + begin * 2 * kBits, depth, panel.bytes[b]);
    for (std::int64_t g = 0; g < depth / weight.group_size; ++g) {
#pragma GCC unroll 2
      for (int v = 0; v < kBlockVectors; ++v) {
        const std::int64_t at = 16 * b + v * kLanes;
        const Ints zeros = ints(load_zero_ints<kBits>(block.zeros + (first + g) * 2 * kBits, v));
        store(panel.scales[g] + at, load_scales(block, first + g, v));
        store_ints(panel.minus_zeros[g] + at, -zeros & 0xffff);
      }
    }
  }
}

// A tile of tokens x kTileCols rows. Its totals stay in memory, so that the registers are left to
// the sums of the group at hand.
struct Int8Tile {
  const std::int8_t* x;
  std::int64_t x_stride;
  const float* x_scales;            // (tokens, groups of the matrix)
  const std::int32_t* x_code_sums;  // "
  std::int64_t x_groups;
  const std::uint8_t* bytes[kInt8Blocks];
  Groups groups;  // of the panel
  Int8Panel* panel;
  float* out;
  std::int64_t out_stride;
  std::int64_t width;  // rows to write
  bool accumulate;
};

// -zero * code_sum for the rows and tokens of a tile, where the sums begin: one product a group
// less in float32.
template <int kBits, int kTokens>
[[gnu::always_inline]] inline void begin_sums(const Int8Tile& task, std::int64_t g,
                                              Ints (&sums)[kTokens][kTileVectors]) {
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t) {
    const std::int32_t code_sum = task.x_code_sums[t * task.x_groups + g];
#pragma GCC unroll 2
    for (int v = 0; v < kTileVectors; ++v) {
      if constexpr (kBits == 8) {
        sums[t][v] = broadcast_int(-Dot<8>::kZero * code_sum);
      } else {
        const Ints minus_zeros = load_ints(task.panel->minus_zeros[g] + v * kLanes);
        sums[t][v] = multiply_pairs(minus_zeros, broadcast_int(code_sum));
      }
    }
  }
}

// sums += sum(q * code) over four columns.
template <int kBits, int kTokens, typename Sum>
[[gnu::always_inline]] inline void dot_columns(const std::uint8_t* (&bytes)[kTileVectors],
                                               const std::int8_t* x, std::int64_t x_stride,
                                               std::int64_t c, Sum (&sums)[kTokens][kTileVectors]) {
  typename Dot<kBits>::Weights weights[kTileVectors];
#pragma GCC unroll 2
  for (int v = 0; v < kTileVectors; ++v) {
    weights[v] = Dot<kBits>::weights(load_bytes(bytes[v] + 16 * c));
  }
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t) {
    const Bytes four = broadcast_bytes(x + t * x_stride + c);
#pragma GCC unroll 2
    for (int v = 0; v < kTileVectors; ++v) {
      sums[t][v] = Dot<kBits>::add(sums[t][v], weights[v], four);
    }
  }
}

// The same over one group.
template <int kBits, int kTokens>
[[gnu::always_inline]] inline void dot_tile(const Int8Tile& task, std::int64_t g,
                                            Ints (&sums)[kTokens][kTileVectors]) {
  const std::int8_t* x = task.x + g * task.groups.cols;
  const std::int64_t x_stride = task.x_stride;
  const std::uint8_t* bytes[kTileVectors];
#pragma GCC unroll 2
  for (int v = 0; v < kTileVectors; ++v) {
    bytes[v] = task.bytes[v / kBlockVectors] + g * task.groups.cols * 16 +
               v % kBlockVectors * (64 / kBlockVectors);
  }
  if constexpr (Dot<kBits>::kInt16) {
    for (std::int64_t c = 0; c < task.groups.cols; c += kPartialCols) {
      typename Dot<kBits>::Sum partial[kTokens][kTileVectors] = {};
#pragma GCC unroll 8
      for (int i = 0; i < kPartialCols; i += 4) {
        dot_columns<kBits>(bytes, x, x_stride, c + i, partial);
      }
#pragma GCC unroll 16
      for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
        for (int v = 0; v < kTileVectors; ++v) sums[t][v] += Dot<kBits>::widen(partial[t][v]);
      }
    }
  } else {
    for (std::int64_t c = 0; c < task.groups.cols; c += 4) {
      dot_columns<kBits>(bytes, x, x_stride, c, sums);
    }
  }
}

template <int kTokens>
void begin_totals(const Int8Tile& task) {
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
    for (int v = 0; v < kTileVectors; ++v) {
      const Part part = first_lanes(task.accumulate ? task.width - v * kLanes : 0);
      store(task.panel->totals[t] + v * kLanes,
            load(task.out + t * task.out_stride + v * kLanes, part));
    }
  }
}

template <int kTokens>
[[gnu::always_inline]] inline void add_to_totals(const Int8Tile& task, std::int64_t g,
                                                 const Ints (&sums)[kTokens][kTileVectors]) {
#pragma GCC unroll 2
  for (int v = 0; v < kTileVectors; ++v) {
    const Vec scale = load(task.panel->scales[g] + v * kLanes);
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) {
      float* total = task.panel->totals[t] + v * kLanes;
      const Vec factor = scale * broadcast(task.x_scales[t * task.x_groups + g]);
      store(total, fma(factor, to_floats(sums[t][v]), load(total)));
    }
  }
}

template <int kBits, int kTokens>
void multiply_int8_tile(const Int8Tile& task) {
  begin_totals<kTokens>(task);
  for (std::int64_t g = 0; g < task.groups.count; ++g) {
    Ints sums[kTokens][kTileVectors];
    begin_sums<kBits>(task, g, sums);
    dot_tile<kBits>(task, g, sums);
    add_to_totals(task, g, sums);
  }
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
    for (int v = 0; v < kTileVectors; ++v) {
      store(task.out + t * task.out_stride + v * kLanes, load(task.panel->totals[t] + v * kLanes),
            first_lanes(task.width - v * kLanes));
    }
  }
}

template <int kBits, int kTokens = kInt8Tokens>
void multiply_int8_tile(const Int8Tile& task, std::int64_t tokens) {
  if constexpr (kTokens > 0) {
    if (tokens == kTokens) return multiply_int8_tile<kBits, kTokens>(task);
    multiply_int8_tile<kBits, kTokens - 1>(task, tokens);
  }
}

// Every token with a panel; `tile` is the first tokens' one, as if there were no more of them. The
// tiles are of nearly the same size, as those of next_tile() are.
template <int kBits>
void multiply_int8_tiles(Int8Tile tile, std::int64_t tokens) {
  while (tokens > 0) {
    const std::int64_t tiles = (tokens + kInt8Tokens - 1) / kInt8Tokens;
    const std::int64_t count = (tokens + tiles - 1) / tiles;
    multiply_int8_tile<kBits>(tile, count);
    tile.x += count * tile.x_stride;
    tile.x_scales += count * tile.x_groups;
    tile.x_code_sums += count * tile.x_groups;
    tile.out += count * tile.out_stride;
    tokens -= count;
  }
}

template <int kBits>
void many_grouped(const MatmulTask& task, std::int64_t row, std::int64_t rows, Int8Panel& panel) {
  const WeightView& weight = task.weight;
  const std::int64_t group_size = weight.group_size;
  for (std::int64_t begin = 0; begin < weight.cols; begin += kInt8Depth) {
    const std::int64_t left = weight.cols - begin;
    const std::int64_t depth = left < kInt8Depth ? left : kInt8Depth;
    fill_int8_panel<kBits>(weight, row, rows, begin, depth, panel);
    Int8Tile tile{.x = static_cast<const std::int8_t*>(task.x) + begin,
                  .x_stride = task.x_stride,
                  .x_scales = task.x_scales + begin / group_size,
                  .x_code_sums = task.x_code_sums + begin / group_size,
                  .x_groups = weight.cols / group_size,
                  .bytes = {},
                  .groups = {depth / group_size, group_size},
                  .panel = &panel,
                  .out = task.out + row,
                  .out_stride = task.out_stride,
                  .width = rows,
                  .accumulate = begin > 0};
    for (std::int64_t b = 0; b < kInt8Blocks; ++b) tile.bytes[b] = panel.bytes[b];
    multiply_int8_tiles<4>(tile, task.tokens);  // bytes of 3 bits are multiplied like those of 4
  }
}

inline void many_w8(const MatmulTask& task, std::int64_t row, std::int64_t rows, Int8Panel& panel) {
  Int8Tile tile{.x = static_cast<const std::int8_t*>(task.x),
                .x_stride = task.x_stride,
                .x_scales = task.x_scales,
                .x_code_sums = task.x_code_sums,
                .x_groups = 1,
                .bytes = {},
                .groups = groups_of<8>(task.weight),
                .panel = &panel,
                .out = task.out + row,
                .out_stride = task.out_stride,
                .width = rows,
                .accumulate = false};
  for (std::int64_t b = 0; b < kInt8Blocks; ++b) {
    tile.bytes[b] = w8_block(task.weight, 16 * b < rows ? row + 16 * b : row);
  }
  for (std::int64_t r = 0; r < kTileCols; r += kLanes) {
    store(panel.scales[0] + r, load(task.weight.row_scales + row + r, first_lanes(rows - r)));
  }
  multiply_int8_tiles<8>(tile, task.tokens);
}

template <int kBits>
void multiply_int8(const MatmulTask& task) {
  if (task.tokens <= kFewTokens) return multiply_few_int8<kBits>(task);
  auto& panel = *reinterpret_cast<Int8Panel*>(task.scratch);
  for (std::int64_t row = task.row_begin; row < task.row_end; row += kTileCols) {
    const std::int64_t left = task.row_end - row;
    const std::int64_t rows = left < kTileCols ? left : kTileCols;
    if constexpr (kBits == 8) {
      many_w8(task, row, rows, panel);
    } else {
      many_grouped<kBits>(task, row, rows, panel);
    }
  }
}

}  // namespace
}  // namespace nibble
