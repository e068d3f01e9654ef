// Vectors of integers for AVX-512: what vector/quantize.h and vector/matmul_int8.h are written
// with.
#pragma once

#include "nibble/kernels/avx512/codes.h"

namespace nibble {
namespace {

using Bytes = __m512i;  // 64 bytes, four to each of 16 int32
// Of its own type: GCC 12 copies sums about that are __m512i (eight int64) between instructions
// that take sixteen int32, and spills them.
using Ints = int __attribute__((vector_size(64)));
constexpr int kInt8Vectors = 4;  // a tile's: 6 x 4 sums, 4 weight vectors and a broadcast
constexpr int kInt8Tokens = 6;

inline Ints ints(__m512i x) {
  return reinterpret_cast<Ints>(x);
}
inline __m512i bits(Ints x) {
  return reinterpret_cast<__m512i>(x);
}
inline Ints broadcast_int(std::int32_t x) {
  return ints(_mm512_set1_epi32(x));
}
inline Ints load_ints(const std::int32_t* p) {
  return ints(_mm512_loadu_si512(p));
}
inline void store_ints(std::int32_t* p, Ints x) {
  _mm512_storeu_si512(p, bits(x));
}
inline Bytes load_bytes(const std::uint8_t* p) {
  return _mm512_loadu_si512(p);
}
inline void store_bytes(std::uint8_t* p, Bytes x) {
  _mm512_storeu_si512(p, x);
}
// Four bytes to every int32.
inline Bytes broadcast_bytes(const std::int8_t* p) {
  int four;
  __builtin_memcpy(&four, p, sizeof four);
  return _mm512_set1_epi32(four);
}
// In each lane the sum of the products of two pairs of int16.
inline Ints multiply_pairs(Ints a, Ints b) {
  return ints(_mm512_madd_epi16(bits(a), bits(b)));
}
inline Vec to_floats(Ints x) {
  return _mm512_cvtepi32_ps(bits(x));
}

// The larger magnitude of each lane as bits of a float32; NaN is above infinity.
inline Ints max_magnitude(Ints most, Vec x) {
  const __m512i magnitude = _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff));
  return ints(_mm512_max_epi32(bits(most), magnitude));
}
inline std::int32_t max_of(Ints x) {
  return _mm512_reduce_max_epi32(bits(x));
}
inline std::int32_t sum_of(Ints x) {
  return _mm512_reduce_add_epi32(bits(x));
}
// Half to even.
inline Ints round_to_ints(Vec x) {
  return ints(_mm512_cvtps_epi32(x));
}
// 16 integers of -128..127 as bytes, in the order given.
inline void store_codes(std::int8_t* out, const Ints (&codes)[kBlockVectors],
                        const std::int8_t* order) {
  const __m128i places = _mm_loadu_si128(reinterpret_cast<const __m128i*>(order));
  const __m128i bytes = _mm512_cvtepi32_epi8(bits(codes[0]));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm_shuffle_epi8(bytes, places));
}

// Weights of 0..255 times activations of -127..127, four products to each sum.
template <int kBits>
struct Dot {
  using Weights = Bytes;
  using Sum = Ints;
  static constexpr bool kInt16 = false;
  static constexpr std::int32_t kZero = 128;  // of w8: what add() takes is q + kZero
  static Weights weights(Bytes bytes) { return bytes; }
  static Sum add(Sum sum, Weights w, Bytes x) { return ints(_mm512_dpbusd_epi32(bits(sum), w, x)); }
};

}  // namespace
}  // namespace nibble
