// Numbers into ggml's blocks: from floats as ggml's reference does it for Q8_0, Q4_0 and Q4_1, and
// from the integers of packed weights, which the same blocks hold unchanged.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "nibble/core/dtype.h"

namespace nibble {

/// Rounds a row of finite floats into blocks of `dtype`: kQ8_0, kQ4_0, kQ4_1 (as the gguf package,
/// bit for bit) or kQ4_K. values: a whole number of blocks. out: their bytes.
void quantize_row(DType dtype, std::span<const float> values, std::byte* out);

/// A block of Q4_1 out of 32 unsigned integers with a scale and a zero point: the integers as they
/// are, the scale and -zero * scale rounded to float16. q: (32), below 16.
void encode_q4_1(std::span<const std::uint8_t> q, float scale, int zero, std::byte* out);

/// A block of Q8_0 out of 32 integers with a zero point: the differences as they are, the scale
/// rounded to float16. q - zero: -128..127.
void encode_q8_0(std::span<const std::uint8_t> q, float scale, int zero, std::byte* out);

/// Scale and distance of the minimum below 0 of each 32 elements of a block of Q4_K: scale * q -
/// minimum, both 0 or more.
struct ScalesOf256 {
  float scales[8];
  float minimums[8];
};

/// A block of Q4_K with scales near those given: they become 6-bit multiples of two float16
/// numbers, and the values (256) are rounded anew with what that leaves of them.
void encode_q4_k(std::span<const float> values, const ScalesOf256& wanted, std::byte* out);

}  // namespace nibble
