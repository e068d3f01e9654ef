// The element types of tensors in files, those that come in blocks (GGUF's) among them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace nibble {

enum class DType : std::uint8_t {
  kF32,
  kF16,
  kBF16,
  kF64,
  kI8,
  kU8,
  kI16,
  kI32,
  kI64,
  kBool,
  kF8E4M3,  // 1 sign, 4 exponent, 3 fraction bits, no infinity ("fn")
  kF8E5M2,
  // ggml's, in blocks of 32 or 256 elements (weights/ggml_blocks.h):
  kQ8_0,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kQ8_K,
  kIQ4_NL,
  kIQ4_XS
};

/// How a dtype is stored: `block` consecutive elements of a row in `bytes` bytes.
struct DTypeLayout {
  std::int64_t block;
  std::int64_t bytes;
};

DTypeLayout dtype_layout(DType dtype);

/// The name users see: "F32", "BF16", "Q4_0" ... (that of safetensors or GGUF).
std::string_view dtype_name(DType dtype);

/// The dtype that `name` stands for, if there is one.
std::optional<DType> dtype_from_name(std::string_view name);

}  // namespace nibble
