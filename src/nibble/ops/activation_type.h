// What inputs of linear layers are rounded to before they are multiplied (docs/numerics.md).
#pragma once

#include <cstdint>

namespace nibble {

/// Each layer has its own. int8 is for weights that are integers: those that are floats take
/// bfloat16 in its place.
enum class ActivationType : std::uint8_t {
  kBF16,
  kF32,        // not at all
  kInt8,       // with a scale for each token and group of the weights, or row without groups
  kInt8Tensor  // with one scale for all that is multiplied in one call
};

constexpr bool is_int8(ActivationType type) {
  return type == ActivationType::kInt8 || type == ActivationType::kInt8Tensor;
}

/// What is taken in place of `type` where int8 is too coarse.
constexpr ActivationType without_int8(ActivationType type) {
  return is_int8(type) ? ActivationType::kBF16 : type;
}

/// "bf16", "f32", "int8" or "int8_tensor".
const char* activation_type_name(ActivationType type);

}  // namespace nibble
