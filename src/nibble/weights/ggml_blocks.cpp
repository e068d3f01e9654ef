#include "nibble/weights/ggml_blocks.h"

#include <array>
#include <cstdint>
#include <cstring>

#include "nibble/core/bfloat16.h"

namespace nibble {
namespace {

// Blocks need not be aligned in their file. Each decoder first names the parts of its block.

float half_at(const std::byte* place) {
  Float16 half;
  std::memcpy(&half, place, sizeof half);
  return to_float(half);
}

const std::uint8_t* bytes_at(const std::byte* place) {
  return reinterpret_cast<const std::uint8_t*>(place);
}

const std::int8_t* ints_at(const std::byte* place) {
  return reinterpret_cast<const std::int8_t*>(place);
}

std::uint32_t word_at(const std::byte* place) {
  std::uint32_t word;
  std::memcpy(&word, place, sizeof word);
  return word;
}

float as_float(int value) {
  return static_cast<float>(value);
}

// --- Blocks of 32: half bytes hold elements 0-15 in their low and 16-31 in their high halves ---

/// scale * q.
void decode_q8_0(const std::byte* block, float* out) {
  const float scale = half_at(block);
  const std::int8_t* q = ints_at(block + 2);
  for (int i = 0; i < 32; ++i) out[i] = as_float(q[i]) * scale;
}

/// scale * (q - 8).
void decode_q4_0(const std::byte* block, float* out) {
  const float scale = half_at(block);
  const std::uint8_t* q = bytes_at(block + 2);
  for (int i = 0; i < 16; ++i) {
    out[i] = as_float((q[i] & 15) - 8) * scale;
    out[i + 16] = as_float((q[i] >> 4) - 8) * scale;
  }
}

/// scale * q + minimum.
void decode_q4_1(const std::byte* block, float* out) {
  const float scale = half_at(block);
  const float minimum = half_at(block + 2);
  const std::uint8_t* q = bytes_at(block + 4);
  for (int i = 0; i < 16; ++i) {
    out[i] = as_float(q[i] & 15) * scale + minimum;
    out[i + 16] = as_float(q[i] >> 4) * scale + minimum;
  }
}

/// scale * (q - 16): bit i of a word is the fifth bit of element i.
void decode_q5_0(const std::byte* block, float* out) {
  const float scale = half_at(block);
  const std::uint32_t high = word_at(block + 2);
  const std::uint8_t* q = bytes_at(block + 6);
  for (int i = 0; i < 16; ++i) {
    const auto upper = static_cast<int>((high >> i & 1u) << 4);
    const auto upper_second = static_cast<int>((high >> (i + 16) & 1u) << 4);
    out[i] = as_float(((q[i] & 15) | upper) - 16) * scale;
    out[i + 16] = as_float(((q[i] >> 4) | upper_second) - 16) * scale;
  }
}

/// scale * q + minimum, fifth bits as in Q5_0.
void decode_q5_1(const std::byte* block, float* out) {
  const float scale = half_at(block);
  const float minimum = half_at(block + 2);
  const std::uint32_t high = word_at(block + 4);
  const std::uint8_t* q = bytes_at(block + 8);
  for (int i = 0; i < 16; ++i) {
    const auto upper = static_cast<int>((high >> i & 1u) << 4);
    const auto upper_second = static_cast<int>((high >> (i + 16) & 1u) << 4);
    out[i] = as_float((q[i] & 15) | upper) * scale + minimum;
    out[i + 16] = as_float((q[i] >> 4) | upper_second) * scale + minimum;
  }
}

// The 16 values of the IQ4 types: kvalues_iq4nl of ggml.
constexpr std::array<float, 16> kIq4Values = {-127, -104, -83, -65, -49, -35, -22, -10,
                                              1,    13,   25,  38,  53,  69,  89,  113};

/// scale * value of a table.
void decode_iq4_nl(const std::byte* block, float* out) {
  const float scale = half_at(block);
  const std::uint8_t* q = bytes_at(block + 2);
  for (int i = 0; i < 16; ++i) {
    out[i] = kIq4Values[q[i] & 15u] * scale;
    out[i + 16] = kIq4Values[q[i] >> 4u] * scale;
  }
}

// --- Blocks of 256 ---

/// 16 groups of 16: (d * scale) * q - (dmin * minimum), scale and minimum of 4 bits, q of 2.
void decode_q2_k(const std::byte* block, float* out) {
  const std::uint8_t* scales = bytes_at(block);  // 16
  const std::uint8_t* q = bytes_at(block + 16);  // 64
  const float d = half_at(block + 80);
  const float dmin = half_at(block + 82);
  for (int group = 0; group < 16; ++group) {
    const float scale = d * as_float(scales[group] & 15);
    const float minimum = dmin * as_float(scales[group] >> 4);
    // 32 bytes hold 128 elements: those of a run of 32 share their place in the bytes.
    const std::uint8_t* from = q + group / 8 * 32 + group % 2 * 16;
    const int shift = group % 8 / 2 * 2;
    for (int i = 0; i < 16; ++i) {
      out[group * 16 + i] = scale * as_float((from[i] >> shift) & 3) - minimum;
    }
  }
}

/// 16 groups of 16: (d * (scale - 32)) * (q - 4 if the high bit is not set), scale of 6 bits.
void decode_q3_k(const std::byte* block, float* out) {
  const std::uint8_t* high = bytes_at(block);         // 32: bit b of byte i is element 32 b + i's
  const std::uint8_t* q = bytes_at(block + 32);       // 64, as in Q2_K
  const std::uint8_t* packed = bytes_at(block + 96);  // 12: the scales' low 4 bits, then high 2
  const float d = half_at(block + 108);
  for (int group = 0; group < 16; ++group) {
    const int low = (packed[group % 8] >> (group / 8 * 4)) & 15;
    const int upper = (packed[8 + group % 4] >> (group / 4 * 2)) & 3;
    const float scale = d * as_float((low | (upper << 4)) - 32);
    const std::uint8_t* from = q + group / 8 * 32 + group % 2 * 16;
    const int shift = group % 8 / 2 * 2;
    const std::uint8_t* high_from = high + group % 2 * 16;
    for (int i = 0; i < 16; ++i) {
      const int missing = (high_from[i] >> (group / 2)) & 1 ? 0 : 4;
      out[group * 16 + i] = scale * as_float(((from[i] >> shift) & 3) - missing);
    }
  }
}

/// The eight pairs of 6-bit numbers in the 12 bytes of Q4_K and Q5_K.
struct ScalesAndMinimums {
  std::array<std::uint8_t, 8> scales;
  std::array<std::uint8_t, 8> minimums;
};

ScalesAndMinimums unpack_scales(const std::uint8_t* packed) {
  ScalesAndMinimums result;
  for (std::size_t i = 0; i < 4; ++i) {
    result.scales[i] = packed[i] & 63;
    result.minimums[i] = packed[i + 4] & 63;
    result.scales[i + 4] = static_cast<std::uint8_t>((packed[i + 8] & 15) | (packed[i] >> 6 << 4));
    result.minimums[i + 4] =
        static_cast<std::uint8_t>((packed[i + 8] >> 4) | (packed[i + 4] >> 6 << 4));
  }
  return result;
}

/// 8 groups of 32: (d * scale) * q - (dmin * minimum).
void decode_q4_k(const std::byte* block, float* out) {
  const float d = half_at(block);
  const float dmin = half_at(block + 2);
  const ScalesAndMinimums numbers = unpack_scales(bytes_at(block + 4));
  const std::uint8_t* q = bytes_at(block + 16);  // 128: 32 bytes for two groups
  for (std::size_t group = 0; group < 8; ++group) {
    const float scale = d * as_float(numbers.scales[group]);
    const float minimum = dmin * as_float(numbers.minimums[group]);
    const std::uint8_t* from = q + group / 2 * 32;
    const auto shift = static_cast<int>(group % 2 * 4);
    float* to = out + group * 32;
    for (int i = 0; i < 32; ++i) to[i] = scale * as_float((from[i] >> shift) & 15) - minimum;
  }
}

/// As Q4_K, with a fifth bit: bit b of byte i is element 32 b + i's.
void decode_q5_k(const std::byte* block, float* out) {
  const float d = half_at(block);
  const float dmin = half_at(block + 2);
  const ScalesAndMinimums numbers = unpack_scales(bytes_at(block + 4));
  const std::uint8_t* high = bytes_at(block + 16);  // 32
  const std::uint8_t* q = bytes_at(block + 48);     // 128
  for (std::size_t group = 0; group < 8; ++group) {
    const float scale = d * as_float(numbers.scales[group]);
    const float minimum = dmin * as_float(numbers.minimums[group]);
    const std::uint8_t* from = q + group / 2 * 32;
    const auto shift = static_cast<int>(group % 2 * 4);
    float* to = out + group * 32;
    for (int i = 0; i < 32; ++i) {
      const int value = ((from[i] >> shift) & 15) | ((high[i] >> group & 1) << 4);
      to[i] = scale * as_float(value) - minimum;
    }
  }
}

/// 16 groups of 16: (d * scale) * (q - 32), scale a signed byte, q of 4 and 2 bits.
void decode_q6_k(const std::byte* block, float* out) {
  const std::uint8_t* low = bytes_at(block);         // 128: 64 bytes for 128 elements
  const std::uint8_t* high = bytes_at(block + 128);  // 64: 32 bytes for 128 elements
  const std::int8_t* scales = ints_at(block + 192);  // 16
  const float d = half_at(block + 208);
  for (int group = 0; group < 16; ++group) {
    const float scale = d * as_float(scales[group]);
    const int run = group % 8 / 2;  // of 32 elements in the 128
    const std::uint8_t* low_from = low + group / 8 * 64 + run % 2 * 32 + group % 2 * 16;
    const std::uint8_t* high_from = high + group / 8 * 32 + group % 2 * 16;
    for (int i = 0; i < 16; ++i) {
      const int value =
          ((low_from[i] >> (run / 2 * 4)) & 15) | (((high_from[i] >> (run * 2)) & 3) << 4);
      out[group * 16 + i] = scale * as_float(value - 32);
    }
  }
}

/// d * q, d a float32; the sums of 16 behind the integers are for products only.
void decode_q8_k(const std::byte* block, float* out) {
  float d;
  std::memcpy(&d, block, sizeof d);
  const std::int8_t* q = ints_at(block + 4);
  for (int i = 0; i < 256; ++i) out[i] = d * as_float(q[i]);
}

/// 8 groups of 32: (d * (scale - 32)) * value of the table, scale of 4 and 2 bits.
void decode_iq4_xs(const std::byte* block, float* out) {
  const float d = half_at(block);
  const unsigned high = bytes_at(block)[2] | static_cast<unsigned>(bytes_at(block)[3]) << 8;
  const std::uint8_t* low = bytes_at(block + 4);  // 4
  const std::uint8_t* q = bytes_at(block + 8);    // 128: 16 bytes a group, as in blocks of 32
  for (int group = 0; group < 8; ++group) {
    const int scale_bits = ((low[group / 2] >> (group % 2 * 4)) & 15) |
                           static_cast<int>((high >> 2 * group & 3u) << 4);
    const float scale = d * as_float(scale_bits - 32);
    const std::uint8_t* from = q + group * 16;
    float* to = out + group * 32;
    for (int i = 0; i < 16; ++i) {
      to[i] = scale * kIq4Values[from[i] & 15u];
      to[i + 16] = scale * kIq4Values[from[i] >> 4u];
    }
  }
}

}  // namespace

BlockDequantizer find_block_dequantizer(DType dtype) {
  switch (dtype) {
    case DType::kQ8_0:
      return decode_q8_0;
    case DType::kQ4_0:
      return decode_q4_0;
    case DType::kQ4_1:
      return decode_q4_1;
    case DType::kQ5_0:
      return decode_q5_0;
    case DType::kQ5_1:
      return decode_q5_1;
    case DType::kQ2_K:
      return decode_q2_k;
    case DType::kQ3_K:
      return decode_q3_k;
    case DType::kQ4_K:
      return decode_q4_k;
    case DType::kQ5_K:
      return decode_q5_k;
    case DType::kQ6_K:
      return decode_q6_k;
    case DType::kQ8_K:
      return decode_q8_k;
    case DType::kIQ4_NL:
      return decode_iq4_nl;
    case DType::kIQ4_XS:
      return decode_iq4_xs;
    default:
      return nullptr;
  }
}

}  // namespace nibble
