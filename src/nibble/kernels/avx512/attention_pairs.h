// One tile of queries against one chunk of a bfloat16 or int8 KV cache, by VDPBF16PS. Queries and
// weights are rounded to bfloat16; keys and values are bfloat16 already, or int8, whose integers
// are exact in bfloat16. Products of two bfloat16 numbers are exact in float32, and so are all sums
// kept.
//
// Keys are transposed to pairs of elements, values interleaved to pairs of positions: for few rows
// of queries in registers on the way into the product, for many once a chunk into panels in
// scratch.
#pragma once

#include "nibble/kernels/avx512/matmul_bf16.h"
#include "nibble/kernels/vector/attention.h"

namespace nibble {
namespace {

constexpr std::int64_t kPairCols = 32;  // bfloat16 elements of a register

// Elements of a register as the cache holds them.
template <typename Cache>
constexpr std::int64_t kCacheCols = 64 / static_cast<std::int64_t>(sizeof(Cache));
constexpr std::int64_t kMaxCacheCols = 64;

// The parts of the scratch memory. `width` is head_dim, rounded up to kMaxCacheCols.
struct PairScratch {
  float* scores;       // (kTileRows, kAttentionMaxPositions), of the tile of rows under way
  BFloat16* weights;   // (kTileRows, kAttentionMaxPositions), "
  BFloat16* queries;   // (rows, width)
  BFloat16* keys;      // (positions / kTileCols, width / 2, kTileCols, 2)
  BFloat16* values;    // (width / kTileCols, positions / 2, kTileCols, 2)
  std::int64_t width;  // elements from one row of queries to the next
};

inline std::size_t pair_scratch_size(std::int64_t head_dim) {
  const std::int64_t width = round_up(head_dim, kMaxCacheCols);
  const std::int64_t bytes =
      kTileRows * kAttentionMaxPositions * static_cast<std::int64_t>(sizeof(float) + 2) +
      (kAttentionMaxRows + 2 * kAttentionMaxPositions) * width * 2;
  return static_cast<std::size_t>(bytes);
}

inline PairScratch pair_scratch(const AttentionTask& task) {
  PairScratch scratch{};
  scratch.width = round_up(task.head_dim, kMaxCacheCols);
  scratch.scores = reinterpret_cast<float*>(task.scratch);
  scratch.weights =
      reinterpret_cast<BFloat16*>(scratch.scores + kTileRows * kAttentionMaxPositions);
  scratch.queries = scratch.weights + kTileRows * kAttentionMaxPositions;
  scratch.keys = scratch.queries + kAttentionMaxRows * scratch.width;
  scratch.values = scratch.keys + kAttentionMaxPositions * scratch.width;
  return scratch;
}

// The first n elements of a register, zeros for the others, which are not touched in memory.
inline __mmask32 first_of_32(std::int64_t n) {
  return n >= 32 ? ~__mmask32{0} : (__mmask32{1} << n) - 1;
}
inline __m512i load_cols(const BFloat16* row, std::int64_t n) {
  return _mm512_maskz_loadu_epi16(first_of_32(n), row);
}
inline __m512i load_cols(const std::int8_t* row, std::int64_t n) {
  return _mm512_maskz_loadu_epi8(n >= 64 ? ~__mmask64{0} : (__mmask64{1} << n) - 1, row);
}

// The upper and lower bytes of 0..127 in bfloat16.
struct ByteTables {
  alignas(64) std::uint8_t low[128];
  alignas(64) std::uint8_t high[128];
};
constexpr ByteTables byte_tables() {
  ByteTables tables{};
  for (int i = 1; i < 128; ++i) {
    const int exponent = 31 - __builtin_clz(static_cast<unsigned>(i));
    const int bits = (127 + exponent) << 7 | ((i << (7 - exponent)) & 0x7f);
    tables.low[i] = static_cast<std::uint8_t>(bits & 0xff);
    tables.high[i] = static_cast<std::uint8_t>(bits >> 8);
  }
  return tables;
}

// 64 integers of -127..127 as bfloat16, lower and upper bytes apart: two look-ups and the sign.
struct Bytes {
  __m512i low;
  __m512i high;
};
inline Bytes to_bf16_bytes(__m512i integers) {
  static constexpr ByteTables kTables = byte_tables();
  const __m512i magnitudes = _mm512_abs_epi8(integers);
  const auto look_up = [&](const std::uint8_t* table) {
    return _mm512_permutex2var_epi8(_mm512_load_si512(table), magnitudes,
                                    _mm512_load_si512(table + 64));
  };
  const __m512i signs = _mm512_set1_epi8(-128);
  return {look_up(kTables.low),  // magnitude | (integer & sign)
          _mm512_ternarylogic_epi32(look_up(kTables.high), integers, signs, 0xf8)};
}

// VCVTNE2PS2BF16 takes subnormal numbers for zeros, as VDPBF16PS does in any case.
inline __m512i round_pairs(Vec low, Vec high) {
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
}

inline void round_queries(const AttentionTask& task, std::int64_t first_row,
                          const PairScratch& scratch) {
  for (std::int64_t row = first_row; row < task.tokens * task.heads; ++row) {
    const float* q = task.q + row / task.heads * task.q_stride + row % task.heads * task.head_dim;
    BFloat16* out = scratch.queries + row * scratch.width;
    for (std::int64_t d = 0; d < scratch.width; d += kPairCols) {
      const std::int64_t left = task.head_dim - d;
      _mm512_store_si512(out + d, round_pairs(load(q + d, first_lanes(left)),
                                              load(q + d + 16, first_lanes(left - 16))));
    }
  }
}

// Elements begin .. begin + kCacheCols of the keys of 16 positions, transposed: of all of them,
// columns[i] holds the two or four elements that lie in the i-th 32 bits. What is not there is
// zeros.
template <typename Cache>
void transpose_keys(const AttentionTask& task, std::int64_t position, std::int64_t begin,
                    __m512i (&columns)[16]) {
  const std::int64_t left = task.positions - position;
  const auto* source =
      static_cast<const Cache*>(task.keys) + (left > 0 ? position : 0) * task.head_dim + begin;
  if (left >= 16) {
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r) {
      columns[r] = load_cols(source + r * task.head_dim, task.head_dim - begin);
    }
  } else {
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r) {
      columns[r] = load_cols(source + (r < left ? r : 0) * task.head_dim,
                             r < left ? task.head_dim - begin : 0);
    }
  }
  transpose(columns);
}

// 32 bits of 16 positions as pairs of bfloat16.
template <typename Cache>
struct KeyPairs {
  static constexpr int kCount = static_cast<int>(kCacheCols<Cache> / kPairCols);
  __m512i pairs[kCount];

  explicit KeyPairs(__m512i column) {
    if constexpr (kCount == 1) {
      pairs[0] = column;
    } else {
      const Bytes bytes = to_bf16_bytes(column);
      // Positions 0 and 1 of each 128 bits, then 2 and 3.
      const auto front = reinterpret_cast<Vec>(_mm512_unpacklo_epi8(bytes.low, bytes.high));
      const auto back = reinterpret_cast<Vec>(_mm512_unpackhi_epi8(bytes.low, bytes.high));
      pairs[0] = reinterpret_cast<__m512i>(_mm512_shuffle_ps(front, back, 0x88));
      pairs[1] = reinterpret_cast<__m512i>(_mm512_shuffle_ps(front, back, 0xdd));
    }
  }
};

// 32 values of two positions as pairs: the elements 0..15 and 16..31.
struct RowPairs {
  __m512i low;
  __m512i high;
};
inline RowPairs interleave(const BFloat16* even, const BFloat16* odd, std::int64_t even_cols,
                           std::int64_t odd_cols) {
  alignas(64) static constexpr std::uint16_t kLow[32] = {0,  32, 1,  33, 2,  34, 3,  35, 4,  36, 5,
                                                         37, 6,  38, 7,  39, 8,  40, 9,  41, 10, 42,
                                                         11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
  const __m512i low = _mm512_load_si512(kLow);
  const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
  const __m512i a = load_cols(even, even_cols);
  const __m512i b = load_cols(odd, odd_cols);
  return {_mm512_permutex2var_epi16(a, low, b), _mm512_permutex2var_epi16(a, high, b)};
}
inline RowPairs interleave(const std::int8_t* even, const std::int8_t* odd, std::int64_t even_cols,
                           std::int64_t odd_cols) {
  // In each 128 bits four pairs of bytes of elements 0..15, then four of 16..31.
  alignas(64) static constexpr std::uint8_t kOrder[64] = {
      0,  32, 1,  33, 2,  34, 3,  35, 16, 48, 17, 49, 18, 50, 19, 51,  //
      4,  36, 5,  37, 6,  38, 7,  39, 20, 52, 21, 53, 22, 54, 23, 55,  //
      8,  40, 9,  41, 10, 42, 11, 43, 24, 56, 25, 57, 26, 58, 27, 59,  //
      12, 44, 13, 45, 14, 46, 15, 47, 28, 60, 29, 61, 30, 62, 31, 63};
  const auto half = [](const std::int8_t* row, std::int64_t n) {
    return _mm256_maskz_loadu_epi8(first_of_32(n), row);
  };
  const __m512i both =
      _mm512_inserti64x4(_mm512_castsi256_si512(half(even, even_cols)), half(odd, odd_cols), 1);
  const Bytes bytes = to_bf16_bytes(_mm512_permutexvar_epi8(_mm512_load_si512(kOrder), both));
  return {_mm512_unpacklo_epi8(bytes.low, bytes.high), _mm512_unpackhi_epi8(bytes.low, bytes.high)};
}

// The values of positions `position` and the next one, elements begin .. begin + 32.
template <typename Cache>
RowPairs interleave_values(const AttentionTask& task, std::int64_t position, std::int64_t begin) {
  const std::int64_t cols = task.head_dim - begin;
  const bool has_next = position + 1 < task.positions;
  const auto* row = static_cast<const Cache*>(task.values) + position * task.head_dim + begin;
  return interleave(row, has_next ? row + task.head_dim : row, cols, has_next ? cols : 0);
}

// 2^x for x of at most about 0: 2^round(x) times a polynomial of the rest, -0.5..0.5, of degree 4
// (minimax), with an error below 2^-18 of the result: little beside bfloat16's 2^-9. Adding 1.5 *
// 2^23 rounds to an integer that is then the sum's low bits, to be added to the exponent: cheaper
// than VREDUCEPS and VSCALEFPS. What is below 2^-126 becomes a subnormal number or zero, which
// VDPBF16PS takes for zeros.
inline Vec exp2_for_bf16(Vec x) {
  x = max(broadcast(-127.0F), x);  // NaN passes
  const Vec magic = broadcast(12582912.0F);
  const Vec rounded = x + magic;
  const Vec rest = x - (rounded - magic);
  Vec p = broadcast(0.00958285294F);
  p = fma(p, rest, broadcast(0.0559064262F));
  p = fma(p, rest, broadcast(0.240240991F));
  p = fma(p, rest, broadcast(0.693124175F));
  p = fma(p, rest, broadcast(1.0F));
  const __m512i exponent = _mm512_slli_epi32(_mm512_castps_si512(rounded), 23);
  return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), exponent));
}

// The maximum of the first n scores of a row of `token`. Before, int8 keys' scales are multiplied
// into them, and what the token's window has left behind is hidden.
template <typename Cache>
float max_of_pair_scores(const AttentionTask& task, std::int64_t token, std::int64_t n,
                         float* scores) {
  if constexpr (sizeof(Cache) == 1) multiply_elements(scores, task.key_scales, n);
  hide_passed(task, token, n, scores);
  Vec lanes[2] = {broadcast(-__builtin_inff()), broadcast(-__builtin_inff())};
  std::int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    lanes[0] = max(load(scores + i), lanes[0]);
    lanes[1] = max(load(scores + i + kLanes), lanes[1]);
  }
#pragma GCC unroll 2
  for (int v = 0; v < 2; ++v) {
    const Vec rest = load(scores + i + v * kLanes);
    lanes[v] = _mm512_mask_max_ps(lanes[v], first_lanes(n - i - v * kLanes), rest, lanes[v]);
  }
  return max_of(max(lanes[0], lanes[1]));
}

// What turns scores into weights, 2^(score * factor + offset).
struct WeightScale {
  Vec factor;
  Vec offset;
};

// 32 scores to weights, those past `left` to zeros; returns their sum, which is that of the rounded
// weights. Weights of int8 values are multiplied by the values' scales before they are rounded, and
// summed before that.
template <typename Cache, bool kWhole>
Vec weigh_pairs(const WeightScale& scale, const float* scores, const float* value_scales,
                std::int64_t left, Vec sums, BFloat16* weights) {
  Vec halves[2];
#pragma GCC unroll 2
  for (int v = 0; v < 2; ++v) {
    const Part part = kWhole ? first_lanes(kLanes) : first_lanes(left - v * kLanes);
    halves[v] = exp2_for_bf16(fma(load(scores + v * kLanes), scale.factor, scale.offset));
    if constexpr (!kWhole) halves[v] = _mm512_maskz_mov_ps(part, halves[v]);
    if constexpr (sizeof(Cache) == 1) {
      sums = sums + halves[v];
      halves[v] = halves[v] * load(value_scales + v * kLanes, part);
    }
  }
  const __m512i rounded = round_pairs(halves[0], halves[1]);
  _mm512_store_si512(weights, rounded);
  if constexpr (sizeof(Cache) == 1) return sums;
  return dot_pairs(sums, rounded, _mm512_set1_epi16(0x3f80));  // times 1
}

// As weigh_row, for weights rounded to bfloat16 and the chunk's maximum being known; the weights
// from n on become zeros, up to a multiple of 32.
template <typename Cache>
void weigh_pair_row(const AttentionTask& task, std::int64_t row, std::int64_t n, std::int64_t span,
                    float chunk_max, const float* scores, BFloat16* weights) {
  constexpr float kLog2E = 1.44269504F;
  const float old_max = task.max[row];
  const float new_max = chunk_max > old_max ? chunk_max : old_max;
  const float shift = new_max == -__builtin_inff() ? 0.0F : new_max;  // see weigh_row
  const WeightScale scale{broadcast(task.scale * kLog2E), broadcast(-shift * kLog2E)};
  Vec sums[4] = {zero(), zero(), zero(), zero()};  // four at a time: a sum waits for the last one
  std::int64_t i = 0;
  for (; i + 4 * kPairCols <= n; i += 4 * kPairCols) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      const std::int64_t at = i + v * kPairCols;
      sums[v] = weigh_pairs<Cache, true>(scale, scores + at, task.value_scales + at, kPairCols,
                                         sums[v], weights + at);
    }
  }
  for (; i < span; i += kPairCols) {
    sums[0] = weigh_pairs<Cache, false>(scale, scores + i, task.value_scales + i, n - i, sums[0],
                                        weights + i);
  }
  const float sum = sum_of((sums[0] + sums[1]) + (sums[2] + sums[3]));
  task.max[row] = new_max;
  if (old_max == new_max) {
    task.sum[row] += sum;
    return;
  }
  const float correction = __builtin_expf(old_max - shift);
  task.sum[row] = task.sum[row] * correction + sum;
  float* acc = task.acc + row * task.head_dim;
  for (std::int64_t d = 0; d < task.head_dim; d += kLanes) {
    const Part part = first_lanes(task.head_dim - d);
    store(acc + d, load(acc + d, part) * broadcast(correction), part);
  }
}

// Rows first .. first + count of a tile, whose scores are there. All maxima come first: a row's
// weights wait for its maximum, which would otherwise be most of the time.
template <typename Cache>
void weigh_pair_rows(const AttentionTask& task, std::int64_t first, std::int64_t count,
                     std::int64_t span, const PairScratch& scratch) {
  float maxima[kTileRows];
  for (std::int64_t r = 0; r < count; ++r) {
    const std::int64_t token = (first + r) / task.heads;
    maxima[r] = task.scale * max_of_pair_scores<Cache>(task, token, visible_to(task, token),
                                                       scratch.scores + r * kAttentionMaxPositions);
  }
  for (std::int64_t r = 0; r < count; ++r) {
    const std::int64_t n = visible_to(task, (first + r) / task.heads);
    weigh_pair_row<Cache>(task, first + r, n, span, maxima[r],
                          scratch.scores + r * kAttentionMaxPositions,
                          scratch.weights + r * kAttentionMaxPositions);
  }
}

// --- Many rows: panels.

template <typename Cache>
void pack_keys(const AttentionTask& task, std::int64_t span, const PairScratch& scratch) {
  for (std::int64_t position = 0; position < round_up(span, kTileCols); position += kLanes) {
    BFloat16* panel =
        scratch.keys + position / kTileCols * kTileCols * scratch.width + position % kTileCols * 2;
    for (std::int64_t d = 0; d < task.head_dim; d += kCacheCols<Cache>) {
      __m512i columns[16];
      transpose_keys<Cache>(task, position, d, columns);
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) {
        const KeyPairs<Cache> keys(columns[i]);
        BFloat16* out = panel + (d / 2 + i * keys.kCount) * 2 * kTileCols;
        for (const __m512i pairs : keys.pairs) {
          _mm512_store_si512(out, pairs);
          out += 2 * kTileCols;
        }
      }
    }
  }
}

template <typename Cache>
void pack_values(const AttentionTask& task, std::int64_t span, const PairScratch& scratch) {
  for (std::int64_t d = 0; d < task.head_dim; d += kTileCols) {
    BFloat16* panel = scratch.values + d * kAttentionMaxPositions;
    for (std::int64_t position = 0; position < span; position += 2) {
      const RowPairs pairs = interleave_values<Cache>(task, position, d);
      _mm512_store_si512(panel + position * kTileCols, pairs.low);
      _mm512_store_si512(panel + position * kTileCols + 32, pairs.high);
    }
  }
}

// Fetches the part of the next chunk that falls to rows first .. first + count, the first thing
// that it will be asked for. (Not inlined, GCC 12 takes a function that only prefetches for one
// without effect.)
template <typename Cache>
[[gnu::always_inline]] inline void prefetch_next_chunk(const AttentionTask& task,
                                                       std::int64_t first, std::int64_t count) {
  if (task.next_keys == nullptr) return;
  const std::int64_t bytes =
      kAttentionMaxPositions * task.head_dim * static_cast<std::int64_t>(sizeof(Cache));
  const std::int64_t rows = task.tokens * task.heads;
  const std::int64_t end = bytes * (first + count) / rows;
  for (std::int64_t at = bytes * first / rows; at < end; at += 64) {
    prefetch(static_cast<const char*>(task.next_keys) + at);
    prefetch(static_cast<const char*>(task.next_values) + at);
  }
}

// Rows first .. first + count against the packed chunk.
template <typename Cache>
void attend_pair_tile(const AttentionTask& task, std::int64_t first, std::int64_t count,
                      const PairScratch& scratch) {
  const std::int64_t span = visible_to(task, (first + count - 1) / task.heads);
  prefetch_next_chunk<Cache>(task, first, count);
  for (std::int64_t position = 0; position < span; position += kTileCols) {
    multiply_pair_tile(PairTile{.x = scratch.queries + first * scratch.width,
                                .x_stride = scratch.width,
                                .panel = scratch.keys + position * scratch.width,
                                .depth = task.head_dim,
                                .out = scratch.scores + position,
                                .out_stride = kAttentionMaxPositions,
                                .width = kTileCols,
                                .accumulate = false},
                       count);
  }
  weigh_pair_rows<Cache>(task, first, count, span, scratch);
  for (std::int64_t d = 0; d < task.head_dim; d += kTileCols) {
    const std::int64_t left = task.head_dim - d;
    multiply_pair_tile(PairTile{.x = scratch.weights,
                                .x_stride = kAttentionMaxPositions,
                                .panel = scratch.values + d * kAttentionMaxPositions,
                                .depth = round_up(span, 2),
                                .out = task.acc + first * task.head_dim + d,
                                .out_stride = task.head_dim,
                                .width = left < kTileCols ? left : kTileCols,
                                .accumulate = true},
                       count);
  }
}

// --- Few rows: everything in registers.

// Fetches some rows of the keys or values that will be asked for half a chunk later: the values
// while the keys are at work, then the next chunk's keys.
template <typename Cache>
[[gnu::always_inline]] inline void prefetch_rows(const void* matrix, std::int64_t position,
                                                 std::int64_t positions, std::int64_t head_dim) {
  constexpr auto kBytes = static_cast<std::int64_t>(sizeof(Cache));
  const auto* rows = static_cast<const char*>(matrix);
  const std::int64_t end = (position + positions) * head_dim * kBytes;
  for (std::int64_t at = position * head_dim * kBytes; at < end; at += 64) prefetch(rows + at);
}

// Two sums of each score where there are few: a sum takes one product in 6 cycles or so.
template <int kRows>
constexpr int kScoreChains = kRows <= 4 ? 2 : 1;

template <int kRows, typename Cache>
void score_few(const AttentionTask& task, const BFloat16* queries, std::int64_t span,
               const PairScratch& scratch) {
  for (std::int64_t position = 0; position < span; position += kLanes) {
    prefetch_rows<Cache>(task.values, position, kLanes, task.head_dim);
    Vec sums[kScoreChains<kRows>][kRows];
#pragma GCC unroll 2
    for (auto& chain : sums) {
#pragma GCC unroll 16
      for (Vec& sum : chain) sum = zero();
    }
    for (std::int64_t d = 0; d < task.head_dim; d += kCacheCols<Cache>) {
      __m512i columns[16];
      transpose_keys<Cache>(task, position, d, columns);
      const BFloat16* query = queries + d;
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) {
        const KeyPairs<Cache> keys(columns[i]);
        auto& chain = sums[i % kScoreChains<kRows>];
#pragma GCC unroll 2
        for (int j = 0; j < keys.kCount; ++j, query += 2) {
#pragma GCC unroll 16
          for (int r = 0; r < kRows; ++r) {
            chain[r] =
                dot_pairs(chain[r], keys.pairs[j], broadcast_pair(query + r * scratch.width));
          }
        }
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      Vec score = sums[0][r];
      if constexpr (kScoreChains<kRows> == 2) score = score + sums[1][r];
      store(scratch.scores + r * kAttentionMaxPositions + position, score);
    }
  }
}

// acc[:, begin .. begin + 32 kBlocks] += weights . values.
template <int kRows, int kBlocks, typename Cache>
void add_few_values(const AttentionTask& task, std::int64_t begin, std::int64_t span, float* acc,
                    const BFloat16* weights) {
  Vec sums[kBlocks][kRows][kTileVectors];
  const auto width = [&](int block) { return task.head_dim - begin - block * kTileCols; };
#pragma GCC unroll 4
  for (int b = 0; b < kBlocks; ++b) {
    load_tile(acc + begin + b * kTileCols, task.head_dim, width(b), sums[b]);
  }
  for (std::int64_t position = 0; position < span; position += 2) {
    if (begin == 0 && task.next_keys != nullptr) {
      prefetch_rows<Cache>(task.next_keys, position, 2, task.head_dim);
    }
#pragma GCC unroll 4
    for (int b = 0; b < kBlocks; ++b) {
      const RowPairs pairs = interleave_values<Cache>(task, position, begin + b * kTileCols);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const __m512i weight = broadcast_pair(weights + r * kAttentionMaxPositions + position);
        sums[b][r][0] = dot_pairs(sums[b][r][0], pairs.low, weight);
        sums[b][r][1] = dot_pairs(sums[b][r][1], pairs.high, weight);
      }
    }
  }
#pragma GCC unroll 4
  for (int b = 0; b < kBlocks; ++b) {
    store_tile(acc + begin + b * kTileCols, task.head_dim, width(b), sums[b]);
  }
}

template <int kRows, typename Cache>
void attend_few(const AttentionTask& task, std::int64_t first, std::int64_t span,
                const PairScratch& scratch) {
  score_few<kRows, Cache>(task, scratch.queries + first * scratch.width, span, scratch);
  weigh_pair_rows<Cache>(task, first, kRows, span, scratch);
  constexpr int kBlocks = kRows <= 5 ? 2 : 1;
  float* acc = task.acc + first * task.head_dim;
  std::int64_t d = 0;
  for (; d + (kBlocks - 1) * kTileCols < task.head_dim; d += kBlocks * kTileCols) {
    add_few_values<kRows, kBlocks, Cache>(task, d, span, acc, scratch.weights);
  }
  for (; d < task.head_dim; d += kTileCols) {
    add_few_values<kRows, 1, Cache>(task, d, span, acc, scratch.weights);
  }
}

// The instance for a number of rows up to kTileRows.
template <typename Cache, int kRows = kTileRows>
void attend_few(const AttentionTask& task, std::int64_t first, std::int64_t rows, std::int64_t span,
                const PairScratch& scratch) {
  if constexpr (kRows > 0) {
    if (rows == kRows) return attend_few<kRows, Cache>(task, first, span, scratch);
    attend_few<Cache, kRows - 1>(task, first, rows, span, scratch);
  }
}

// Fetches the chunk's scales, which are too short a run for the processor to foresee.
[[gnu::always_inline]] inline void prefetch_scales(const AttentionTask& task) {
  for (std::int64_t i = 0; i < task.positions; i += 16) {
    prefetch(task.key_scales + i);
    prefetch(task.value_scales + i);
  }
}

template <typename Cache>
void attend_pairs(const AttentionTask& task) {
  const std::int64_t first_token = first_token_past(task, 0);  // those before see nothing
  if (first_token >= task.tokens || task.positions <= 0) return;
  const PairScratch scratch = pair_scratch(task);
  const std::int64_t span = visible_to(task, task.tokens - 1);
  const std::int64_t rows = task.tokens * task.heads;
  std::int64_t row = first_token * task.heads;
  if constexpr (sizeof(Cache) == 1) prefetch_scales(task);
  round_queries(task, row, scratch);
  if (rows - row <= kTileRows) return attend_few<Cache>(task, row, rows - row, span, scratch);
  pack_keys<Cache>(task, span, scratch);
  pack_values<Cache>(task, span, scratch);
  while (row < rows) {
    const std::int64_t count = next_tile(rows - row);
    attend_pair_tile<Cache>(task, row, count, scratch);
    row += count;
  }
}

}  // namespace
}  // namespace nibble
