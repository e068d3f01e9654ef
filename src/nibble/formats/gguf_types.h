// The value types of GGUF metadata and the element types of ggml's tensors.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "nibble/core/dtype.h"
#include "nibble/formats/gguf.h"

namespace nibble {

/// "U8", "STRING" ... Any number may be asked for: one that is no type gives "".
std::string_view gguf_type_name(GgufType type);
/// Bytes of a value of a fixed size; 0 for strings, arrays and numbers that are no type.
std::uint64_t gguf_type_bytes(GgufType type);

/// A ggml tensor type. `dtype` is set for those that Nibble can use.
struct GgmlType {
  std::uint32_t id;
  std::string_view name;
  DTypeLayout layout;
  std::optional<DType> dtype;
};

/// The type of that number, or null: one that this table does not know (or that ggml has removed).
const GgmlType* find_ggml_type(std::uint32_t id);
/// The type that a dtype is, or null.
const GgmlType* find_ggml_type(DType dtype);
/// Those that Nibble can use, as a list for messages.
std::string supported_ggml_types();

}  // namespace nibble
