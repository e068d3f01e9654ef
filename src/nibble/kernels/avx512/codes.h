// Unpacking the integers of the packed formats (weights/packed_group.h) in AVX-512 registers.
#pragma once

#include <bit>

#include "nibble/kernels/avx512/simd.h"

namespace nibble {
namespace {

constexpr int kBlockVectors = 1;  // vectors of floats that a block of 16 rows takes

inline Vec multiply_subtract(Vec a, Vec b, Vec c) {
  return _mm512_fmsub_ps(a, b, c);
}  // a b - c

// The 16 zero points of a unit of 2 * kBits bytes. VPMULTISHIFTQB takes for each byte any 8 bits of
// its 64-bit half: bits kBits * r and up for row r.
template <int kBits>
__m512i load_zero_ints(const std::uint8_t* unit, int) {
  std::uint64_t bits;
  if constexpr (kBits == 4) {
    __builtin_memcpy(&bits, unit, 8);
  } else {  // in a register: six bytes through memory would be waited for
    std::uint32_t low;
    std::uint16_t high;
    __builtin_memcpy(&low, unit, 4);
    __builtin_memcpy(&high, unit + 4, 2);
    bits = low | static_cast<std::uint64_t>(high) << 32;
  }
  const __m128i shifts =
      kBits == 4 ? _mm_setr_epi8(0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60)
                 : _mm_setr_epi8(0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 33, 36, 39, 42, 45);
  const __m128i bytes =
      _mm_multishift_epi64_epi8(shifts, _mm_set1_epi64x(static_cast<long long>(bits)));
  const __m128i zeros = _mm_and_si128(bytes, _mm_set1_epi8((1 << kBits) - 1));
  return _mm512_cvtepu8_epi32(zeros);
}
template <int kBits>
Vec load_zeros(const std::uint8_t* unit, int v) {
  return _mm512_cvtepi32_ps(load_zero_ints<kBits>(unit, v));
}

// The numbers 0, 1, ... count - 1, over and over. As bfloat16 a table for VPERMW, which heeds only
// the low five bits of each index, as float32 one for VPERMPS, which heeds four: nothing above a
// code needs masking away.
template <int kCount>
struct NumberTable {
  constexpr NumberTable() {
    for (int i = 0; i < 32; ++i) {
      const auto value = static_cast<float>(i % kCount);
      bf16[i] = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16);
      if (i < 16) f32[i] = value;
    }
  }
  alignas(64) std::uint16_t bf16[32] = {};
  alignas(64) float f32[16] = {};
};
template <int kCount>
constexpr NumberTable<kCount> kNumbers;

template <int kCount>
__m512i pick_bf16(__m512i index) {
  return _mm512_permutexvar_epi16(index, _mm512_load_si512(kNumbers<kCount>.bf16));
}
template <int kCount>
Vec pick_float(__m512i index) {
  return _mm512_permutexvar_ps(index, _mm512_load_ps(kNumbers<kCount>.f32));
}

// Loads a vector that several shifts take. GCC would load it again for each of them, and loads are
// what the loop over the columns would then wait for.
inline __m512i load_once(const std::uint8_t* p) {
  __m512i vector = _mm512_loadu_si512(p);
  asm("" : "+v"(vector));
  return vector;
}

// A run of columns of a block of 16 rows, in registers.
template <int kBits>
struct Codes;

template <>
struct Codes<4> {
  static constexpr int kCols = 8;
  static constexpr int kBytes = 64;
  explicit Codes(const std::uint8_t* p) : lanes(load_once(p)) {}

  // Column i as float32.
  Vec column(int i, int) const {
    const int shift = 16 * (i % 2) + 4 * (i / 2);
    return pick_float<16>(_mm512_srli_epi32(lanes, shift));
  }
  // Columns 2 j and 2 j + 1 as pairs of bfloat16.
  __m512i pair(int j) const { return pick_bf16<16>(_mm512_srli_epi16(lanes, 4 * j)); }
  // Four columns as bytes: 0, 4, 1, 5, then 2, 6, 3, 7 (kCodeOrderW4).
  __m512i bytes(int i, int) const {
    return _mm512_and_si512(_mm512_srli_epi32(lanes, 4 * i), _mm512_set1_epi8(15));
  }

  __m512i lanes;
};

template <>
struct Codes<3> {
  static constexpr int kCols = 32;
  static constexpr int kBytes = 192;
  explicit Codes(const std::uint8_t* p)
      : lanes{load_once(p), load_once(p + 64), load_once(p + 128)} {
    // 0xca: where the mask is set the first, elsewhere the second. What is left in the upper two
    // bits of the bytes does not matter.
    const __m512i lower = _mm512_ternarylogic_epi32(
        _mm512_set1_epi8(3), _mm512_srli_epi32(lanes[0], 6), _mm512_srli_epi32(lanes[1], 4), 0xca);
    lanes[3] = _mm512_ternarylogic_epi32(_mm512_set1_epi8(15), lower,
                                         _mm512_srli_epi32(lanes[2], 2), 0xca);
  }

  // The first bit of column pair j in its lanes.
  static constexpr int first_bit(int j) { return 3 * (j % 2) + 8 * (j % 4 / 2); }

  Vec column(int i, int) const {
    return pick_float<8>(_mm512_srli_epi32(lanes[i / 8], 16 * (i % 2) + first_bit(i / 2)));
  }
  __m512i pair(int j) const { return pick_bf16<8>(_mm512_srli_epi16(lanes[j / 4], first_bit(j))); }
  // Four columns as bytes: 0, 4, 1, 5, then 2, 6, 3, 7, and so on (kCodeOrderW4).
  __m512i bytes(int i, int) const {
    return _mm512_and_si512(_mm512_srli_epi32(lanes[i / 2], 3 * (i % 2)), _mm512_set1_epi8(7));
  }

  __m512i lanes[4];
};

// For VPERMW: what the upper nibble of q + 128 adds to the lower one, 16 n - 128.
struct UpperNibbleTable {
  constexpr UpperNibbleTable() {
    for (int i = 0; i < 32; ++i) {
      const auto value = static_cast<float>(i % 16 * 16 - 128);
      bf16[i] = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16);
    }
  }
  alignas(64) std::uint16_t bf16[32] = {};
};
constexpr UpperNibbleTable kUpperNibbles;

// A chunk of w8 (weights/int8_per_channel.h).
template <>
struct Codes<8> {
  static constexpr int kCols = 4;
  static constexpr int kBytes = 64;
  explicit Codes(const std::uint8_t* p) : lanes(_mm512_loadu_si512(p)) {}

  // Column i as float32, q itself: its byte is brought to the top, less 128, and down again.
  Vec column(int i, int) const {
    constexpr int kShift[] = {24, 8, 16, 0};
    const __m512i signs = _mm512_set1_epi8(-128);
    const __m512i top = _mm512_slli_epi32(_mm512_xor_si512(lanes, signs), kShift[i]);
    return _mm512_cvtepi32_ps(_mm512_srai_epi32(top, 24));
  }
  // The lower (even part) or upper nibbles of columns 2 (part / 2) and the one after it as pairs of
  // bfloat16, whose sum is q.
  __m512i nibble_pair(int part) const {
    const __m512i nibbles = _mm512_srli_epi16(lanes, 4 * part);
    if (part % 2 == 0) return pick_bf16<16>(nibbles);
    return _mm512_permutexvar_epi16(nibbles, _mm512_load_si512(kUpperNibbles.bf16));
  }
  __m512i bytes(int, int) const { return lanes; }

  __m512i lanes;
};

}  // namespace
}  // namespace nibble
