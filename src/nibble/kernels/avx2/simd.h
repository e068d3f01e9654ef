// Vectors of 8 floats for AVX2, FMA and F16C: what the files in kernels/vector are written with.
// Everything is in an anonymous namespace, so that no copy compiled here can be linked into another
// set.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "nibble/core/bfloat16.h"

namespace nibble {
namespace {

using Vec = __m256;
constexpr int kLanes = 8;
constexpr int kTileRows = 6;    // 6 x 2 sums, 2 panel vectors and a broadcast: 15 of 16 registers
constexpr int kFewTokens = 4;   // of 16 rows: 8 sums, and the unpacking
constexpr int kDenseSums = 12;  // sums that the few-token product with row-major weights keeps
constexpr int kPanelTiles = 4;  // tiles of kTileCols rows that a panel holds: 64 rows, so that
                                // widening a tile's bfloat16 activations is 1/64 of its products

// The first n lanes: all for n >= 8, none for n <= 0.
struct Part {
  int count;
};
inline Part first_lanes(std::int64_t n) {
  return {n >= kLanes ? kLanes : n > 0 ? static_cast<int>(n) : 0};
}
inline __m256i mask_of(Part part) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(part.count),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

// Fetches the cache line of `p` into the second-level cache: the processors' own prefetching does
// not follow several rows at a time. The address may be past the end of the data.
[[gnu::always_inline]] inline void prefetch(const void* p) {
  _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1);
}

inline Vec zero() {
  return _mm256_setzero_ps();
}
inline Vec broadcast(float x) {
  return _mm256_set1_ps(x);
}
inline Vec load(const float* p) {
  return _mm256_loadu_ps(p);
}
inline Vec load(const BFloat16* p) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
inline Vec load(const Float16* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline Vec load(const std::int8_t* p) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
}

// Some of the elements, zeros for the others, which are not touched in memory. There are masked
// moves for 32 bits only, and their stores are slow on AMD's processors: whole vectors take none.
inline Vec load(const float* p, Part part) {
  return part.count == kLanes ? load(p) : _mm256_maskload_ps(p, mask_of(part));
}
template <typename Element>
Vec load(const Element* p, Part part) {
  if (part.count == kLanes) return load(p);
  Element elements[kLanes] = {};
  for (int i = 0; i < kLanes && i < part.count; ++i) elements[i] = p[i];
  return load(elements);
}
inline void store(float* p, Vec x) {
  _mm256_storeu_ps(p, x);
}
inline void store(float* p, Vec x, Part part) {
  if (part.count == kLanes) return store(p, x);
  _mm256_maskstore_ps(p, mask_of(part), x);
}

// Rounds half to even as to_bfloat16 does.
inline __m128i round_to_bf16(Vec x) {
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  const __m256i upper = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
  const __m256i packed = _mm256_packus_epi32(upper, upper);  // within each half
  return _mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08));
}
inline void store(BFloat16* p, Vec x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), round_to_bf16(x));
}
inline void store(BFloat16* p, Vec x, Part part) {
  if (part.count == kLanes) return store(p, x);
  BFloat16 elements[kLanes];
  store(elements, x);
  for (int i = 0; i < part.count; ++i) p[i] = elements[i];
}

inline Vec fma(Vec a, Vec b, Vec c) {
  return _mm256_fmadd_ps(a, b, c);
}  // a b + c
inline Vec negated_fma(Vec a, Vec b, Vec c) {
  return _mm256_fnmadd_ps(a, b, c);
}  // c - a b
// As MAXPS: the second where either is NaN.
inline Vec max(Vec a, Vec b) {
  return _mm256_max_ps(a, b);
}
inline Vec min(Vec a, Vec b) {
  return _mm256_min_ps(a, b);
}
inline Vec round(Vec x) {
  return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline Vec power_of_two(__m256i n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}
// x * 2^n for whole n in -252..254, in two steps: 2^n alone may be past the range of float32.
inline Vec scale_by_power(Vec x, Vec n) {
  const __m256i whole = _mm256_cvtps_epi32(n);
  const __m256i half = _mm256_srai_epi32(whole, 1);
  return x * power_of_two(half) * power_of_two(_mm256_sub_epi32(whole, half));
}
inline float sum_of(Vec x) {
  __m128 sum = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
  return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}
inline float max_of(Vec x) {
  __m128 top = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  top = _mm_max_ps(top, _mm_movehl_ps(top, top));
  return _mm_cvtss_f32(_mm_max_ss(top, _mm_movehdup_ps(top)));
}
inline double sum_of_doubles(Vec x) {
  const __m256d sums = _mm256_add_pd(_mm256_cvtps_pd(_mm256_castps256_ps128(x)),
                                     _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1)));
  const __m128d pair = _mm_add_pd(_mm256_castpd256_pd128(sums), _mm256_extractf128_pd(sums, 1));
  return _mm_cvtsd_f64(_mm_add_sd(pair, _mm_unpackhi_pd(pair, pair)));
}

// Doubles, of which matrix products alone are made.
using Vec64 = __m256d;
inline Vec64 load(const double* p) {
  return _mm256_loadu_pd(p);
}
inline void store(double* p, Vec64 x) {
  _mm256_storeu_pd(p, x);
}
inline Vec64 broadcast(double x) {
  return _mm256_set1_pd(x);
}
inline Vec64 fma(Vec64 a, Vec64 b, Vec64 c) {
  return _mm256_fmadd_pd(a, b, c);
}

// Transposes 8 rows of 8 floats: pairs, quadruples, then halves change places.
inline void transpose(Vec (&rows)[8]) {
  Vec pairs[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
  }
  Vec quads[8];  // half l of quads[4 i + j]: rows 4 i .. 4 i + 3 of column 4 l + j
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    quads[i] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0x44);
    quads[i + 1] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0xee);
    quads[i + 2] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0x44);
    quads[i + 3] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    rows[j] = _mm256_permute2f128_ps(quads[j], quads[4 + j], 0x20);
    rows[4 + j] = _mm256_permute2f128_ps(quads[j], quads[4 + j], 0x31);
  }
}

// out[c * out_stride + r] = source[r * stride + c] for up to 8 rows and any number of columns; rows
// that are not there are zeros.
template <typename Element>
void transpose_rows(const Element* source, std::int64_t stride, std::int64_t rows,
                    std::int64_t cols, float* out, std::int64_t out_stride) {
  for (std::int64_t begin = 0; begin < cols; begin += kLanes) {
    Vec block[kLanes];
#pragma GCC unroll 8
    for (int r = 0; r < kLanes; ++r) {
      block[r] = r < rows ? load(source + r * stride + begin, first_lanes(cols - begin)) : zero();
      prefetch(source + (r + 2 * kLanes) * stride + begin);
    }
    transpose(block);
    const std::int64_t n = cols - begin < kLanes ? cols - begin : kLanes;
    for (std::int64_t c = 0; c < n; ++c) store(out + (begin + c) * out_stride, block[c]);
  }
}

}  // namespace
}  // namespace nibble
