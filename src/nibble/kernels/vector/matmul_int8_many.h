// Matrix products with int8 activations for many tokens (prefill): kInt8Rows rows of the weights at
// a time are unpacked to bytes in scratch and multiplied with every token, a tile in registers at a
// time. Include the set's int8.h first.
#pragma once

#include "nibble/kernels/kernel_set.h"
#include "nibble/kernels/vector/matmul_int8_few.h"

namespace nibble {
namespace {

constexpr std::int64_t kInt8Rows = kInt8Vectors * kLanes;
constexpr int kInt8Blocks = kInt8Vectors / kBlockVectors;
constexpr int kVectorBytes = 64 / kBlockVectors;  // of the 64 of a block of 16 rows and 4 columns
constexpr std::int64_t kInt8Depth = 2048;         // columns, a multiple of every group size
constexpr std::int64_t kMinGroup = 32;
constexpr std::int64_t kAheadCols = 128;  // that are prefetched at a time

struct Int8Panel {
  std::uint8_t bytes[kInt8Blocks][kInt8Depth * 16];  // w8 lies so already, and is not copied
  float scales[kInt8Depth / kMinGroup][kInt8Rows];
  std::int32_t minus_zeros[kInt8Depth / kMinGroup][kInt8Rows];  // pairs of int16: (-zero, 0)
  float totals[kInt8Tokens][kInt8Rows];                         // of the tile at hand
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
        store_bytes(out + v * kVectorBytes, unpacked.bytes(i, v));
      }
    }
  }
}

// Columns begin .. begin + depth of up to kInt8Rows rows; what stands for the others does not
// matter.
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

// Where the rows of a tile of tokens are in a matrix: an address for every three of them, since
// base, base + stride and base + 2 stride are what an instruction can address.
template <typename Element, int kTokens>
class TokenRows {
 public:
  TokenRows(const Element* first, std::int64_t stride) : stride_(stride) {
#pragma GCC unroll 4
    for (int i = 0; i < kBases; ++i) bases_[i] = first + 3 * i * stride;
  }
  [[gnu::always_inline]] const Element* row(int t) const {
    return bases_[t / 3] + t % 3 * stride_;
  }
  // Moves on by some columns. GCC must not see that the bases go together: it would keep an address
  // for each row in place of them, more than there are registers.
  [[gnu::always_inline]] void advance(std::int64_t cols) {
#pragma GCC unroll 4
    for (int i = 0; i < kBases; ++i) {
      bases_[i] += cols;
      asm("" : "+r"(bases_[i]));
    }
  }

 private:
  static constexpr int kBases = (kTokens + 2) / 3;
  const Element* bases_[kBases];
  std::int64_t stride_;
};

// A tile of tokens x kInt8Rows rows.
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

// Where the operands of the group at hand are.
template <int kTokens>
struct TileCursor {
  explicit TileCursor(const Int8Tile& tile)
      : x(tile.x, tile.x_stride),
        x_scales(tile.x_scales, tile.x_groups),
        x_code_sums(tile.x_code_sums, tile.x_groups) {
#pragma GCC unroll 4
    for (int b = 0; b < kInt8Blocks; ++b) bytes[b] = tile.bytes[b];
  }
  // On by 4 kSteps columns.
  template <int kSteps>
  [[gnu::always_inline]] void advance() {
    x.advance(4 * kSteps);
#pragma GCC unroll 4
    for (int b = 0; b < kInt8Blocks; ++b) {
      bytes[b] += 64 * kSteps;
      asm("" : "+r"(bytes[b]));
    }
  }

  TokenRows<std::int8_t, kTokens> x;
  const std::uint8_t* bytes[kInt8Blocks];
  TokenRows<float, kTokens> x_scales;
  TokenRows<std::int32_t, kTokens> x_code_sums;
};

// -zero * code_sum, where the sums of a group begin: one product a group less in float32.
template <int kBits, int kTokens>
[[gnu::always_inline]] inline void begin_sums(const TileCursor<kTokens>& at,
                                              const std::int32_t* minus_zeros,
                                              Ints (&sums)[kTokens][kInt8Vectors]) {
#pragma GCC unroll 4
  for (int v = 0; v < kInt8Vectors; ++v) {
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) {
      const std::int32_t code_sum = *at.x_code_sums.row(t);
      if constexpr (kBits == 8) {
        sums[t][v] = broadcast_int(-Dot<8>::kZero * code_sum);
      } else {
        sums[t][v] = multiply_pairs(load_ints(minus_zeros + v * kLanes), broadcast_int(code_sum));
      }
    }
  }
}

// sums += sum(q * code) over 4 kSteps columns.
template <int kBits, int kSteps, int kTokens, typename Sum>
[[gnu::always_inline]] inline void dot_columns(TileCursor<kTokens>& at,
                                               Sum (&sums)[kTokens][kInt8Vectors]) {
#pragma GCC unroll 8
  for (int i = 0; i < kSteps; ++i) {
    typename Dot<kBits>::Weights weights[kInt8Vectors];
#pragma GCC unroll 4
    for (int v = 0; v < kInt8Vectors; ++v) {
      weights[v] = Dot<kBits>::weights(
          load_bytes(at.bytes[v / kBlockVectors] + 64 * i + v % kBlockVectors * kVectorBytes));
    }
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) {
      const Bytes four = broadcast_bytes(at.x.row(t) + 4 * i);
#pragma GCC unroll 4
      for (int v = 0; v < kInt8Vectors; ++v) {
        sums[t][v] = Dot<kBits>::add(sums[t][v], weights[v], four);
      }
    }
  }
  at.template advance<kSteps>();
}

// The next tile's activations for the columns at hand.
template <int kTokens>
[[gnu::always_inline]] inline void prefetch_next_tile(const TileCursor<kTokens>& at,
                                                      std::int64_t x_stride, std::int64_t cols) {
  for (std::int64_t c = 0; c < cols; c += 64) {
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) prefetch(at.x.row(t) + kTokens * x_stride + c);
  }
}

// The sums of products over some columns of a group.
template <int kBits, int kTokens>
[[gnu::always_inline]] inline void dot_tile(TileCursor<kTokens>& at, std::int64_t cols,
                                            Ints (&sums)[kTokens][kInt8Vectors]) {
  if constexpr (Dot<kBits>::kInt16) {
    for (std::int64_t c = 0; c < cols; c += kPartialCols) {
      typename Dot<kBits>::Sum partial[kTokens][kInt8Vectors] = {};
      dot_columns<kBits, kPartialCols / 4>(at, partial);
#pragma GCC unroll 16
      for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 4
        for (int v = 0; v < kInt8Vectors; ++v) sums[t][v] += Dot<kBits>::widen(partial[t][v]);
      }
    }
  } else {
    std::int64_t c = 0;
    for (; c + 8 <= cols; c += 8) dot_columns<kBits, 2>(at, sums);
    if constexpr (kBits == 8) {  // the others' groups have a multiple of 32 columns
      if (c < cols) dot_columns<kBits, 1>(at, sums);
    }
  }
}

// The totals of the tile at hand stay in memory, so that the registers are left to the sums of a
// group: totals += (scale * x_scale) * sum.
template <int kTokens>
[[gnu::always_inline]] inline void add_to_totals(const TileCursor<kTokens>& at, const float* scales,
                                                 const Ints (&sums)[kTokens][kInt8Vectors],
                                                 float* totals) {
#pragma GCC unroll 4
  for (int v = 0; v < kInt8Vectors; ++v) {
    const Vec scale = load(scales + v * kLanes);
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) {
      float* total = totals + t * kInt8Rows + v * kLanes;
      const Vec factor = scale * broadcast(*at.x_scales.row(t));
      store(total, fma(factor, to_floats(sums[t][v]), load(total)));
    }
  }
}

inline void begin_totals(const Int8Tile& tile, int tokens) {
  for (int v = 0; v < kInt8Vectors; ++v) {
    const Part part = first_lanes(tile.accumulate ? tile.width - v * kLanes : 0);
    for (int t = 0; t < tokens; ++t) {
      store(tile.panel->totals[t] + v * kLanes,
            load(tile.out + t * tile.out_stride + v * kLanes, part));
    }
  }
}

inline void write_totals(const Int8Tile& tile, int tokens) {
  for (int v = 0; v < kInt8Vectors; ++v) {
    const Part part = first_lanes(tile.width - v * kLanes);
    for (int t = 0; t < tokens; ++t) {
      store(tile.out + t * tile.out_stride + v * kLanes, load(tile.panel->totals[t] + v * kLanes),
            part);
    }
  }
}

// Where the next tile's results go: as many lines, each of another page.
inline void prefetch_next_out(const Int8Tile& tile, int tokens) {
  for (int t = tokens; t < 2 * tokens; ++t) {
    for (int v = 0; v < kInt8Vectors; v += kBlockVectors) {
      prefetch(tile.out + t * tile.out_stride + v * kLanes);
    }
  }
}

template <int kBits, int kTokens>
void multiply_int8_tile(const Int8Tile& tile) {
  begin_totals(tile, kTokens);
  prefetch_next_out(tile, kTokens);
  TileCursor<kTokens> at(tile);
  Int8Panel& panel = *tile.panel;
  const Groups groups = tile.groups;
  const std::int64_t x_stride = tile.x_stride;
  float* totals = panel.totals[0];
  for (std::int64_t g = 0; g < groups.count; ++g) {
    asm("" : "+r"(totals));  // else GCC takes them for variables of its own, and moves them about
    Ints sums[kTokens][kInt8Vectors];
    begin_sums<kBits>(at, panel.minus_zeros[g], sums);
    for (std::int64_t c = 0; c < groups.cols; c += kAheadCols) {
      const std::int64_t left = groups.cols - c;
      const std::int64_t cols = left < kAheadCols ? left : kAheadCols;
      prefetch_next_tile(at, x_stride, cols);
      dot_tile<kBits>(at, cols, sums);
    }
    add_to_totals(at, panel.scales[g], sums, totals);
    at.x_scales.advance(1);
    at.x_code_sums.advance(1);
  }
  write_totals(tile, kTokens);
}

template <int kBits, int kTokens = kInt8Tokens>
void multiply_int8_tile(const Int8Tile& tile, std::int64_t tokens) {
  if constexpr (kTokens > 0) {
    if (tokens == kTokens) return multiply_int8_tile<kBits, kTokens>(tile);
    multiply_int8_tile<kBits, kTokens - 1>(tile, tokens);
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

// The tile of the first tokens and of a panel's rows, without what differs between formats.
inline Int8Tile first_tile(const MatmulTask& task, std::int64_t row, std::int64_t rows,
                           Int8Panel& panel) {
  return {.x = static_cast<const std::int8_t*>(task.x),
          .x_stride = task.x_stride,
          .x_scales = task.x_scales,
          .x_code_sums = task.x_code_sums,
          .x_groups = 1,
          .bytes = {},
          .groups = {},
          .panel = &panel,
          .out = task.out + row,
          .out_stride = task.out_stride,
          .width = rows,
          .accumulate = false};
}

template <int kBits>
void many_grouped(const MatmulTask& task, std::int64_t row, std::int64_t rows, Int8Panel& panel) {
  const WeightView& weight = task.weight;
  const std::int64_t group_size = weight.group_size;
  Int8Tile tile = first_tile(task, row, rows, panel);
  tile.x_groups = weight.cols / group_size;
  for (int b = 0; b < kInt8Blocks; ++b) tile.bytes[b] = panel.bytes[b];
  for (std::int64_t begin = 0; begin < weight.cols; begin += kInt8Depth) {
    const std::int64_t left = weight.cols - begin;
    const std::int64_t depth = left < kInt8Depth ? left : kInt8Depth;
    fill_int8_panel<kBits>(weight, row, rows, begin, depth, panel);
    tile.groups = {depth / group_size, group_size};
    tile.accumulate = begin > 0;
    multiply_int8_tiles<4>(tile, task.tokens);  // bytes of 3 bits are multiplied like those of 4
    tile.x += depth;
    tile.x_scales += depth / group_size;
    tile.x_code_sums += depth / group_size;
  }
}

inline void many_w8(const MatmulTask& task, std::int64_t row, std::int64_t rows, Int8Panel& panel) {
  Int8Tile tile = first_tile(task, row, rows, panel);
  tile.groups = groups_of<8>(task.weight);
  for (int b = 0; b < kInt8Blocks; ++b) {
    tile.bytes[b] = w8_block(task.weight, 16 * b < rows ? row + 16 * b : row);
  }
  for (std::int64_t r = 0; r < kInt8Rows; r += kLanes) {
    store(panel.scales[0] + r, load(w8_scales(task.weight, row) + r, first_lanes(rows - r)));
  }
  multiply_int8_tiles<8>(tile, task.tokens);
}

template <int kBits>
void multiply_many_int8(const MatmulTask& task) {
  auto& panel = *reinterpret_cast<Int8Panel*>(task.scratch);
  for (std::int64_t row = task.row_begin; row < task.row_end; row += kInt8Rows) {
    const std::int64_t left = task.row_end - row;
    const std::int64_t rows = left < kInt8Rows ? left : kInt8Rows;
    if constexpr (kBits == 8) {
      many_w8(task, row, rows, panel);
    } else {
      many_grouped<kBits>(task, row, rows, panel);
    }
  }
}

}  // namespace
}  // namespace nibble
