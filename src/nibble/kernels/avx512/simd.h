// Vectors of 16 floats for AVX-512: what the files in kernels/vector are written with. Everything
// is in an anonymous namespace, so that no copy compiled here can be linked into another set.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "nibble/core/bfloat16.h"

namespace nibble {
namespace {

using Vec = __m512;
constexpr int kLanes = 16;
constexpr int kTileRows = 12;   // 12 x 2 sums, 2 panel vectors and a broadcast: 27 of 32 registers
constexpr int kFewTokens = 8;   // 8 sums, 8 totals and the unpacking fit into the registers
constexpr int kDenseSums = 16;  // sums that the few-token product with row-major weights keeps
constexpr int kPanelTiles = 1;  // tiles of kTileCols rows that a panel holds

// The first n lanes: all for n >= 16, none for n <= 0.
using Part = __mmask16;
inline Part first_lanes(std::int64_t n) {
  return n >= 16 ? static_cast<__mmask16>(0xffff)
         : n > 0 ? static_cast<__mmask16>((1u << n) - 1u)
                 : static_cast<__mmask16>(0);
}

// Fetches the cache line of `p` into the second-level cache: the processors' own prefetching does
// not follow several rows at a time. The address may be past the end of the data.
[[gnu::always_inline]] inline void prefetch(const void* p) {
  _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1);
}

inline Vec zero() {
  return _mm512_setzero_ps();
}
inline Vec broadcast(float x) {
  return _mm512_set1_ps(x);
}
inline Vec widen(__m256i bf16) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bf16), 16));
}
inline Vec load(const float* p) {
  return _mm512_loadu_ps(p);
}
inline Vec load(const BFloat16* p) {
  return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline Vec load(const Float16* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

// Some of the elements, zeros for the others, which are not touched in memory.
inline Vec load(const float* p, Part part) {
  return _mm512_maskz_loadu_ps(part, p);
}
inline Vec load(const BFloat16* p, Part part) {
  return widen(_mm256_maskz_loadu_epi16(part, p));
}
inline Vec load(const Float16* p, Part part) {
  return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(part, p));
}
inline void store(float* p, Vec x) {
  _mm512_storeu_ps(p, x);
}
inline void store(float* p, Vec x, Part part) {
  _mm512_mask_storeu_ps(p, part, x);
}

// Rounds half to even as to_bfloat16 does, in integers: VCVTNEPS2BF16 flushes subnormal numbers.
inline __m256i round_to_bf16(Vec x) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
  const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
  const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_mask_mov_epi32(rounded, nan, quiet), 16));
}
inline void store(BFloat16* p, Vec x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), round_to_bf16(x));
}
inline void store(BFloat16* p, Vec x, Part part) {
  _mm256_mask_storeu_epi16(p, part, round_to_bf16(x));
}

inline Vec fma(Vec a, Vec b, Vec c) {
  return _mm512_fmadd_ps(a, b, c);
}  // a b + c
inline Vec negated_fma(Vec a, Vec b, Vec c) {
  return _mm512_fnmadd_ps(a, b, c);
}  // c - a b
// As MAXPS: the second where either is NaN.
inline Vec max(Vec a, Vec b) {
  return _mm512_max_ps(a, b);
}
inline Vec min(Vec a, Vec b) {
  return _mm512_min_ps(a, b);
}
inline Vec round(Vec x) {
  return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
// x * 2^n for whole n.
inline Vec scale_by_power(Vec x, Vec n) {
  return _mm512_scalef_ps(x, n);
}
inline float sum_of(Vec x) {
  return _mm512_reduce_add_ps(x);
}
inline float max_of(Vec x) {
  return _mm512_reduce_max_ps(x);
}
inline double sum_of_doubles(Vec x) {
  const __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(x));
  const __m512d high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1));
  return _mm512_reduce_add_pd(_mm512_add_pd(low, high));
}

// Doubles, of which matrix products alone are made.
using Vec64 = __m512d;
inline Vec64 load(const double* p) {
  return _mm512_loadu_pd(p);
}
inline void store(double* p, Vec64 x) {
  _mm512_storeu_pd(p, x);
}
inline Vec64 broadcast(double x) {
  return _mm512_set1_pd(x);
}
inline Vec64 fma(Vec64 a, Vec64 b, Vec64 c) {
  return _mm512_fmadd_pd(a, b, c);
}

// Transposes 16 rows of 16 32-bit values: pairs, quadruples, then 128-bit quarters change places.
inline void transpose(__m512i (&rows)[16]) {
  __m512i pairs[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    pairs[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
  }
  __m512i quads[16];  // quarter l of quads[4 i + j]: rows 4 i .. 4 i + 3 of column 4 l + j
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    quads[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
    quads[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
    quads[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
    quads[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
  }
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const __m512i low01 = _mm512_shuffle_i32x4(quads[j], quads[4 + j], 0x44);
    const __m512i low23 = _mm512_shuffle_i32x4(quads[j], quads[4 + j], 0xee);
    const __m512i high01 = _mm512_shuffle_i32x4(quads[8 + j], quads[12 + j], 0x44);
    const __m512i high23 = _mm512_shuffle_i32x4(quads[8 + j], quads[12 + j], 0xee);
    rows[j] = _mm512_shuffle_i32x4(low01, high01, 0x88);
    rows[4 + j] = _mm512_shuffle_i32x4(low01, high01, 0xdd);
    rows[8 + j] = _mm512_shuffle_i32x4(low23, high23, 0x88);
    rows[12 + j] = _mm512_shuffle_i32x4(low23, high23, 0xdd);
  }
}

// Up to 16 rows x 32 bfloat16 columns, transposed: pairs[i] holds columns 2 i and 2 i + 1 of all
// rows. Rows and columns that are not there are zeros.
inline void transpose_pairs(const BFloat16* source, std::int64_t stride, std::int64_t rows,
                            std::int64_t cols, __m512i (&pairs)[16]) {
  const __mmask32 mask = cols >= 32 ? ~__mmask32{0} : (__mmask32{1} << cols) - 1;
#pragma GCC unroll 16
  for (int r = 0; r < 16; ++r) {
    pairs[r] = _mm512_maskz_loadu_epi16(r < rows ? mask : 0, source + (r < rows ? r : 0) * stride);
    prefetch(source + (r + 2 * kLanes) * stride);
  }
  transpose(pairs);
}

// out[c * out_stride + r] = source[r * stride + c] for up to 16 rows and any number of columns;
// rows that are not there are zeros.
template <typename Element>
void transpose_rows(const Element* source, std::int64_t stride, std::int64_t rows,
                    std::int64_t cols, float* out, std::int64_t out_stride) {
  for (std::int64_t begin = 0; begin < cols; begin += 16) {
    __m512i block[16];
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r) {
      const Part part = first_lanes(r < rows ? cols - begin : 0);
      block[r] = _mm512_castps_si512(load(source + (r < rows ? r : 0) * stride + begin, part));
      prefetch(source + (r + 2 * kLanes) * stride + begin);
    }
    transpose(block);
    const std::int64_t n = cols - begin < 16 ? cols - begin : 16;
    for (std::int64_t c = 0; c < n; ++c) {
      store(out + (begin + c) * out_stride, _mm512_castsi512_ps(block[c]));
    }
  }
}

// bfloat16 is transposed in pairs, which takes half the shuffles.
inline void transpose_rows(const BFloat16* source, std::int64_t stride, std::int64_t rows,
                           std::int64_t cols, float* out, std::int64_t out_stride) {
  for (std::int64_t begin = 0; begin < cols; begin += 32) {
    __m512i pairs[16];
    transpose_pairs(source + begin, stride, rows, cols - begin, pairs);
    const std::int64_t n = cols - begin < 32 ? cols - begin : 32;
    for (std::int64_t c = 0; c < n; ++c) {
      const __m512i bits = c % 2 == 0 ? _mm512_slli_epi32(pairs[c / 2], 16)
                                      : _mm512_and_si512(pairs[c / 2], _mm512_set1_epi32(-65536));
      store(out + (begin + c) * out_stride, _mm512_castsi512_ps(bits));
    }
  }
}

}  // namespace
}  // namespace nibble
