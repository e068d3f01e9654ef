// Vectors of integers for AVX2: what vector/quantize.h and vector/matmul_int8.h are written with.
#pragma once

#include "nibble/kernels/avx2/codes.h"

namespace nibble {
namespace {

using Bytes = __m256i;                                  // 32 bytes, four to each of 8 int32
using Ints = int __attribute__((vector_size(32)));      // 8 int32
using Shorts = short __attribute__((vector_size(32)));  // 16 int16

inline Ints ints(__m256i x) {
  return reinterpret_cast<Ints>(x);
}
inline Shorts shorts(__m256i x) {
  return reinterpret_cast<Shorts>(x);
}
inline __m256i bits(Ints x) {
  return reinterpret_cast<__m256i>(x);
}
inline __m256i bits(Shorts x) {
  return reinterpret_cast<__m256i>(x);
}
inline Ints broadcast_int(std::int32_t x) {
  return ints(_mm256_set1_epi32(x));
}
inline Ints load_ints(const std::int32_t* p) {
  return ints(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline void store_ints(std::int32_t* p, Ints x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), bits(x));
}
inline Bytes load_bytes(const std::uint8_t* p) {
  return load_bits(p);
}
inline void store_bytes(std::uint8_t* p, Bytes x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x);
}
// Four bytes to every int32.
inline Bytes broadcast_bytes(const std::int8_t* p) {
  int four;
  __builtin_memcpy(&four, p, sizeof four);
  return _mm256_set1_epi32(four);
}
// In each lane the sum of the products of two pairs of int16.
inline Ints multiply_pairs(Ints a, Ints b) {
  return ints(_mm256_madd_epi16(bits(a), bits(b)));
}
inline Vec to_floats(Ints x) {
  return _mm256_cvtepi32_ps(bits(x));
}

// The larger magnitude of each lane as bits of a float32; NaN is above infinity.
inline Ints max_magnitude(Ints most, Vec x) {
  const __m256i magnitude = _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7fffffff));
  return ints(_mm256_max_epi32(bits(most), magnitude));
}
inline std::int32_t max_of(Ints x) {
  std::int32_t most = x[0];
  for (int i = 1; i < 8; ++i) most = x[i] > most ? x[i] : most;
  return most;
}
inline std::int32_t sum_of(Ints x) {
  std::int32_t sum = 0;
  for (int i = 0; i < 8; ++i) sum += x[i];
  return sum;
}
// Half to even.
inline Ints round_to_ints(Vec x) {
  return ints(_mm256_cvtps_epi32(x));
}
// 16 integers of -128..127 as bytes, in the order given.
inline void store_codes(std::int8_t* out, const Ints (&codes)[kBlockVectors],
                        const std::int8_t* order) {
  const __m128i places = _mm_loadu_si128(reinterpret_cast<const __m128i*>(order));
  // Packs the halves of the two vectors in turn; the permutation brings them into order.
  const __m256i halves =
      _mm256_permute4x64_epi64(_mm256_packs_epi32(bits(codes[0]), bits(codes[1])), 0xd8);
  const __m128i bytes =
      _mm_packs_epi16(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm_shuffle_epi8(bytes, places));
}

}  // namespace
}  // namespace nibble
