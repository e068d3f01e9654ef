// Matrix products with bfloat16 activations by VDPBF16PS: 16 float32 sums, to each of which two
// products of bfloat16 are added. A block of 16 packed rows has just the layout of its operand, so
// that a pair of activations is broadcast and nothing is shuffled or summed across lanes.
//
// Or by float32 multiply-adds of what is widened, where two of them are quicker: Intel's processors
// have time for four in that of a VDPBF16PS (Sapphire Rapids). It adds the product of the pair's
// odd column there, then that of the even one, and rounds each time; so both give the same bits,
// unless a number is subnormal, which VDPBF16PS takes for zero.
#pragma once

#include <type_traits>

#include "nibble/kernels/avx512/codes.h"
#include "nibble/kernels/kernel_set.h"
#include "nibble/kernels/vector/matmul_few.h"
#include "nibble/kernels/vector/matmul_many.h"
#include "nibble/kernels/vector/tile.h"

namespace nibble {
namespace {

inline Vec dot_pairs(Vec sum, __m512i a, __m512i b) {
  return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
}

// Columns 0 and 1 of x in every lane.
inline __m512i broadcast_pair(const BFloat16* x) {
  int pair;
  __builtin_memcpy(&pair, x, sizeof pair);
  return _mm512_set1_epi32(pair);
}

// 0..15 is exact in bfloat16, so the products q x are exact.
template <>
struct Product<BFloat16> {
  static constexpr int kCols = 2;
  template <int kBits>
  static __m512i unpack(const Codes<kBits>& codes, int i, int) {
    return codes.pair(i);
  }
  static __m512i operand(__m512i pairs) { return pairs; }
  static Vec add(Vec sum, __m512i q, const BFloat16* x) {
    return dot_pairs(sum, q, broadcast_pair(x));
  }

  // 0..255 is not a table for VPERMW, so that a pair of columns takes two products: the lower
  // nibble and what the upper one adds to it.
  static __m512i unpack_chunk(const Codes<8>& codes, int part, int) {
    return codes.nibble_pair(part);
  }
  static int chunk_column(int part) { return part / 2 * 2; }
};

// A bfloat16 number.
struct Widened {
  float value;
};

struct WidePair {
  Vec even;
  Vec odd;
};

template <>
struct Product<Widened> {
  static constexpr int kCols = 2;
  template <int kBits>
  static WidePair unpack(const Codes<kBits>& codes, int i, int) {
    return operand(codes.pair(i));
  }
  static WidePair operand(__m512i pairs) {
    const __m512i odd = _mm512_and_si512(pairs, _mm512_set1_epi32(-65536));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)), _mm512_castsi512_ps(odd)};
  }
  static Vec add(Vec sum, const WidePair& q, const Widened* x) {
    return fma(q.even, broadcast(x[0].value), fma(q.odd, broadcast(x[1].value), sum));
  }

  static WidePair unpack_chunk(const Codes<8>& codes, int part, int) {
    return operand(codes.nibble_pair(part));
  }
  static int chunk_column(int part) { return part / 2 * 2; }
};

// Rows of activations, the same or widened, from one to the next in steps of `stride`.
template <typename Activation>
struct ActivationRows {
  const Activation* first;
  std::int64_t stride;
};

template <typename Activation>
ActivationRows<Activation> activation_rows(const BFloat16* x, std::int64_t stride,
                                           std::int64_t tokens, std::int64_t cols, void* space) {
  if constexpr (std::is_same_v<Activation, BFloat16>) {
    return {x, stride};
  } else {
    auto* out = static_cast<Widened*>(space);
    const std::int64_t out_stride = cols + kLanes;  // not all in the same sets of the cache
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t c = 0; c < cols; c += kLanes) {
        const Part part = first_lanes(cols - c);
        store(&out[t * out_stride + c].value, load(x + t * stride + c, part), part);
      }
    }
    return {out, out_stride};
  }
}

inline std::size_t widened_bytes(std::int64_t tokens, std::int64_t cols) {
  return static_cast<std::size_t>(tokens * (cols + kLanes)) * sizeof(Widened);
}

template <>
struct RowProduct<BFloat16> {
  static constexpr int kCols = 32;
  static __m512i load_columns(const BFloat16* p) { return _mm512_loadu_si512(p); }
  static __m512i load_columns(const BFloat16* p, std::int64_t n) {
    const __mmask32 mask = n >= 32 ? ~__mmask32{0} : (__mmask32{1} << n) - 1;
    return _mm512_maskz_loadu_epi16(mask, p);
  }
  static Vec add(Vec sum, __m512i weights, __m512i x) { return dot_pairs(sum, weights, x); }
};

// The instance for the task's number of tokens, up to kFewTokens.
template <WeightFormat format, Fetch kFetch, typename Activation, int kTokens = kFewTokens>
void multiply_few_rows(const MatmulTask& task, const ActivationRows<Activation>& x) {
  if constexpr (kTokens > 0) {
    if (task.tokens < kTokens) {
      return multiply_few_rows<format, kFetch, Activation, kTokens - 1>(task, x);
    }
    if constexpr (format == WeightFormat::kBF16) {
      few_dense<BFloat16, kTokens>(task, x.first, x.stride);
    } else if constexpr (format == WeightFormat::kW8) {
      few_w8<kTokens, kFetch>(task, x.first, x.stride);
    } else {
      few_packed<format == WeightFormat::kW4 ? 4 : 3, kTokens, kFetch>(task, x.first, x.stride);
    }
  }
}

// Weights of bfloat16 wait for memory, and their rows would be widened again for each few: they are
// multiplied by VDPBF16PS in any case.
template <WeightFormat format, Fetch kFetch, typename Activation>
void multiply_few_bf16(const MatmulTask& task) {
  using Used = std::conditional_t<format == WeightFormat::kBF16, BFloat16, Activation>;
  multiply_few_rows<format, kFetch>(
      task, activation_rows<Used>(static_cast<const BFloat16*>(task.x), task.x_stride, task.tokens,
                                  task.weight.cols, task.scratch));
}

// Panels of pairs of columns, (pairs, kTileCols rows, 2) bfloat16 each: 128 KiB in all. Activations
// that are widened are so for all panels at once, and few columns of them stay in the first-level
// cache.
struct PairPanels {
  std::int64_t rows;
  std::int64_t depth;  // columns, a multiple of every group size
};
template <typename Activation>
constexpr PairPanels kPairs = {kTileCols, 2048};
template <>
constexpr PairPanels kPairs<Widened> = {2 * kTileCols, 256};

// VCVTNE2PS2BF16 gives the even columns of all rows, then the odd ones; this brings them together.
inline __m512i interleave_pairs(Vec even, Vec odd) {
  alignas(64) static constexpr std::uint16_t kInterleave[32] = {
      0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
      8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const auto halves = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(odd, even));
  return _mm512_permutexvar_epi16(_mm512_load_si512(kInterleave), halves);
}

// Columns begin .. begin + depth of up to 16 packed rows, w' rounded to bfloat16. q * scale and
// zero * scale are exact in float32, and so is their difference.
template <int kBits>
void unpack_pairs(const WeightView& weight, std::int64_t row, std::int64_t begin,
                  std::int64_t depth, BFloat16* out) {
  const PackedBlock block = packed_block<kBits>(weight, row);
  const std::uint8_t* codes = block.codes + begin * 2 * kBits;
  const std::int64_t group_size = weight.group_size;
  for (std::int64_t g = begin / group_size; g < (begin + depth) / group_size; ++g) {
    const Vec scale = load_scales(block, g, 0);
    const Vec offset = scale * load_zeros<kBits>(block.zeros + g * 2 * kBits, 0);
    for (std::int64_t c = 0; c < group_size; c += Codes<kBits>::kCols) {
      const Codes<kBits> unpacked(codes);
      codes += Codes<kBits>::kBytes;
#pragma GCC unroll 16
      for (int j = 0; j < Codes<kBits>::kCols / 2; ++j, out += 2 * kTileCols) {
        const __m512i q = unpacked.pair(j);
        const Vec even = _mm512_castsi512_ps(_mm512_slli_epi32(q, 16));
        const Vec odd = _mm512_castsi512_ps(_mm512_and_si512(q, _mm512_set1_epi32(-65536)));
        _mm512_store_si512(out, interleave_pairs(multiply_subtract(even, scale, offset),
                                                 multiply_subtract(odd, scale, offset)));
      }
    }
  }
}

// The same of w8, as q, which bfloat16 holds exactly: its scales come last (scale_rows).
inline void unpack_w8_pairs(const WeightView& weight, std::int64_t row, std::int64_t begin,
                            std::int64_t depth, BFloat16* out) {
  const std::uint8_t* codes = w8_block(weight, row) + begin / 4 * 64;
  for (std::int64_t c = 0; c < depth; c += 4, codes += 64, out += 4 * kTileCols) {
    const Codes<8> unpacked(codes);
    _mm512_store_si512(out, interleave_pairs(unpacked.column(0, 0), unpacked.column(1, 0)));
    _mm512_store_si512(out + 2 * kTileCols,
                       interleave_pairs(unpacked.column(2, 0), unpacked.column(3, 0)));
  }
}

inline void transpose_pair_panel(const WeightView& weight, std::int64_t row, std::int64_t rows,
                                 std::int64_t begin, std::int64_t depth, BFloat16* out) {
  const auto* source =
      static_cast<const BFloat16*>(weight.parts[kCodesPart]) + row * weight.cols + begin;
  for (std::int64_t c = 0; c < depth; c += 32) {
    __m512i pairs[16];
    transpose_pairs(source + c, weight.cols, rows, depth - c, pairs);
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      _mm512_store_si512(out + (c + 2 * i) * kTileCols, pairs[i]);
    }
  }
}

template <WeightFormat format>
void fill_pair_panel(const WeightView& weight, std::int64_t row, std::int64_t rows,
                     std::int64_t begin, std::int64_t depth, BFloat16* panel) {
  for (std::int64_t r = 0; r < kTileCols && r < rows; r += 16) {
    BFloat16* out = panel + 2 * r;
    if constexpr (format == WeightFormat::kBF16) {
      transpose_pair_panel(weight, row + r, rows - r, begin, depth, out);
    } else if constexpr (format == WeightFormat::kW8) {
      unpack_w8_pairs(weight, row + r, begin, depth, out);
    } else {
      unpack_pairs<format == WeightFormat::kW4 ? 4 : 3>(weight, row + r, begin, depth, out);
    }
  }
}

// out (kTokens, width) = or += x (kTokens, depth) . panel, as multiply_tile does in float32.
template <typename Activation>
struct PairTile {
  const Activation* x;
  std::int64_t x_stride;
  const BFloat16* panel;
  std::int64_t depth;
  float* out;
  std::int64_t out_stride;
  std::int64_t width;
  bool accumulate;
};

template <int kTokens, typename Activation>
void multiply_pair_tile(const PairTile<Activation>& task) {
  using Multiply = Product<Activation>;
  Vec sums[kTokens][kTileVectors];
  if (task.accumulate) {
    load_tile(task.out, task.out_stride, task.width, sums);
  } else {
    clear_tile(sums);
  }
  const Activation* x = task.x;
  const BFloat16* panel = task.panel;
  const std::int64_t x_stride = task.x_stride;
  for (std::int64_t c = 0; c + 1 < task.depth; c += 2, x += 2, panel += 2 * kTileCols) {
    const auto w0 = Multiply::operand(_mm512_load_si512(panel));
    const auto w1 = Multiply::operand(_mm512_load_si512(panel + 32));
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) {
      sums[t][0] = Multiply::add(sums[t][0], w0, x + t * x_stride);
      sums[t][1] = Multiply::add(sums[t][1], w1, x + t * x_stride);
    }
  }
  if (task.depth % 2 != 0) {  // the last column has no partner
    const auto w0 = Multiply::operand(_mm512_load_si512(panel));
    const auto w1 = Multiply::operand(_mm512_load_si512(panel + 32));
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) {
      const Activation pair[2] = {x[t * x_stride], {}};
      sums[t][0] = Multiply::add(sums[t][0], w0, pair);
      sums[t][1] = Multiply::add(sums[t][1], w1, pair);
    }
  }
  store_tile(task.out, task.out_stride, task.width, sums);
}

template <int kTokens = kTileRows, typename Activation>
void multiply_pair_tile(const PairTile<Activation>& task, std::int64_t tokens) {
  if constexpr (kTokens > 0) {
    if (tokens == kTokens) return multiply_pair_tile<kTokens>(task);
    multiply_pair_tile<kTokens - 1>(task, tokens);
  }
}

constexpr std::size_t kPanelBytes =
    kPairs<BFloat16>.rows * kPairs<BFloat16>.depth * sizeof(BFloat16);

// Every token with the panels of rows row .. row + rows, columns begin .. begin + depth.
template <typename Activation>
void multiply_pair_panels(const MatmulTask& task, std::int64_t row, std::int64_t rows,
                          std::int64_t begin, std::int64_t depth) {
  const auto* panels = reinterpret_cast<const BFloat16*>(task.scratch);
  std::int64_t t = 0;
  while (t < task.tokens) {
    const std::int64_t tokens = next_tile(task.tokens - t);
    const auto x = activation_rows<Activation>(
        static_cast<const BFloat16*>(task.x) + t * task.x_stride + begin, task.x_stride, tokens,
        depth, task.scratch + kPanelBytes);
    for (std::int64_t r = 0; r < rows; r += kTileCols) {
      multiply_pair_tile(PairTile<Activation>{.x = x.first,
                                              .x_stride = x.stride,
                                              .panel = panels + r * kPairs<Activation>.depth,
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
void multiply_many_bf16(const MatmulTask& task) {
  auto* panels = reinterpret_cast<BFloat16*>(task.scratch);
  constexpr PairPanels kMost = kPairs<Activation>;
  const std::int64_t cols = task.weight.cols;
  for (std::int64_t row = task.row_begin; row < task.row_end; row += kMost.rows) {
    const std::int64_t left = task.row_end - row;
    const std::int64_t rows = left < kMost.rows ? left : kMost.rows;
    for (std::int64_t begin = 0; begin < cols; begin += kMost.depth) {
      const std::int64_t depth = cols - begin < kMost.depth ? cols - begin : kMost.depth;
      for (std::int64_t r = 0; r < rows; r += kTileCols) {
        fill_pair_panel<format>(task.weight, row + r, rows - r, begin, depth,
                                panels + r * kMost.depth);
      }
      multiply_pair_panels<Activation>(task, row, rows, begin, depth);
    }
    if constexpr (format == WeightFormat::kW8) scale_rows(task, row, rows);
  }
}

template <WeightFormat format, Fetch kFetch, typename Activation>
void multiply_bf16(const MatmulTask& task) {
  if (task.tokens > kFewTokens) return multiply_many_bf16<format, Activation>(task);
  multiply_few_bf16<format, kFetch, Activation>(task);
}

}  // namespace
}  // namespace nibble
