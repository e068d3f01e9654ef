// Unpacking the integers of the packed formats (weights/packed_group.h) in AVX2 registers.
#pragma once

#include "nibble/kernels/avx2/simd.h"

namespace nibble {
namespace {

constexpr int kBlockVectors = 2;  // vectors of floats that a block of 16 rows takes

inline Vec multiply_subtract(Vec a, Vec b, Vec c) {
  return _mm256_fmsub_ps(a, b, c);
}  // a b - c

inline __m256i load_bits(const std::uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

// The zero points of rows 8 v .. 8 v + 7: kBits bytes of the unit, kBits bits each.
template <int kBits>
__m256i load_zero_ints(const std::uint8_t* unit, int v) {
  std::uint32_t bits;
  if constexpr (kBits == 4) {
    __builtin_memcpy(&bits, unit + 4 * v, 4);
  } else {  // in a register: three bytes through memory would be waited for
    std::uint16_t low;
    __builtin_memcpy(&low, unit + 3 * v, 2);
    bits = low | static_cast<std::uint32_t>(unit[3 * v + 2]) << 16;
  }
  const __m256i shifts =
      _mm256_mullo_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(kBits));
  const __m256i shifted = _mm256_srlv_epi32(_mm256_set1_epi32(static_cast<int>(bits)), shifts);
  return _mm256_and_si256(shifted, _mm256_set1_epi32((1 << kBits) - 1));
}
template <int kBits>
Vec load_zeros(const std::uint8_t* unit, int v) {
  return _mm256_cvtepi32_ps(load_zero_ints<kBits>(unit, v));
}

// A run of columns of a block of 16 rows, in registers: v = 0 for the first 8 rows, 1 for the rest.
template <int kBits>
struct Codes;

template <>
struct Codes<4> {
  static constexpr int kCols = 8;
  static constexpr int kBytes = 64;
  explicit Codes(const std::uint8_t* p) : lanes{load_bits(p), load_bits(p + 32)} {}

  // Column i as float32: bits 4 (i / 2) and up of the lower (even i) or upper half of 32 bits.
  Vec column(int i, int v) const {
    const __m256i shifted = _mm256_srli_epi32(lanes[v], 16 * (i % 2) + 4 * (i / 2));
    return _mm256_cvtepi32_ps(_mm256_and_si256(shifted, _mm256_set1_epi32(15)));
  }
  // Column i where it stands, without a shift: times 2^kShifts[i]. The last would be a sign.
  static constexpr int kShifts[kCols] = {0, 16, 4, 20, 8, 24, 12, 0};
  Vec scaled_column(int i, int v) const {
    if (i == 7) return _mm256_cvtepi32_ps(_mm256_srli_epi32(lanes[v], 28));
    return _mm256_cvtepi32_ps(_mm256_and_si256(lanes[v], _mm256_set1_epi32(15 << kShifts[i])));
  }
  // Four columns as bytes: 0, 4, 1, 5, then 2, 6, 3, 7 (kCodeOrderW4).
  __m256i bytes(int i, int v) const {
    return _mm256_and_si256(_mm256_srli_epi32(lanes[v], 4 * i), _mm256_set1_epi8(15));
  }

  __m256i lanes[2];
};

template <>
struct Codes<3> {
  static constexpr int kCols = 32;
  static constexpr int kBytes = 192;
  explicit Codes(const std::uint8_t* p) : codes(p) {}

  // VPERMPS heeds the low three bits of each index: nothing above a code needs masking away.
  Vec column(int i, int v) const {
    const int first_bit = 16 * (i % 2) + 8 * (i % 8 / 4) + 3 * (i % 4 / 2);
    return _mm256_permutevar8x32_ps(_mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7),
                                    _mm256_srli_epi32(lanes(i / 8, v), first_bit));
  }
  // Four columns as bytes: 0, 4, 1, 5, then 2, 6, 3, 7, and so on (kCodeOrderW4).
  __m256i bytes(int i, int v) const {
    return _mm256_and_si256(_mm256_srli_epi32(lanes(i / 2, v), 3 * (i % 2)), _mm256_set1_epi8(7));
  }

  // Half v of one of the four vectors. Loaded where it is used, as eight would take too many of the
  // 16 registers. What is left in the upper two bits of the fourth's bytes does not matter.
  __m256i lanes(int vector, int v) const {
    if (vector < 3) return load_bits(codes + 64 * vector + 32 * v);
    const __m256i first = _mm256_srli_epi32(lanes(0, v), 6);
    const __m256i second = _mm256_srli_epi32(lanes(1, v), 4);
    const __m256i third = _mm256_srli_epi32(lanes(2, v), 2);
    return _mm256_or_si256(_mm256_or_si256(_mm256_and_si256(first, _mm256_set1_epi8(0x03)),
                                           _mm256_and_si256(second, _mm256_set1_epi8(0x0c))),
                           _mm256_and_si256(third, _mm256_set1_epi8(0x30)));
  }

  const std::uint8_t* codes;
};

// A chunk of w8 (weights/int8_per_channel.h).
template <>
struct Codes<8> {
  static constexpr int kCols = 4;
  static constexpr int kBytes = 64;
  explicit Codes(const std::uint8_t* p) : lanes{load_bits(p), load_bits(p + 32)} {}

  // Column i as float32, q itself: its byte is brought to the top, less 128, and down again.
  Vec column(int i, int v) const {
    constexpr int kShift[] = {24, 8, 16, 0};
    const __m256i signs = _mm256_set1_epi8(-128);
    const __m256i top = _mm256_slli_epi32(_mm256_xor_si256(lanes[v], signs), kShift[i]);
    return _mm256_cvtepi32_ps(_mm256_srai_epi32(top, 24));
  }
  __m256i bytes(int, int v) const { return lanes[v]; }

  __m256i lanes[2];
};

}  // namespace
}  // namespace nibble
