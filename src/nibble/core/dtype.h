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
  kQ8_0,
  kQ4_0,
  kQ4_1
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
