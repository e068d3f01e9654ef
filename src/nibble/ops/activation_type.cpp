#include "nibble/ops/activation_type.h"

namespace nibble {

const char* activation_type_name(ActivationType type) {
  switch (type) {
    case ActivationType::kBF16:
      return "bf16";
    case ActivationType::kF32:
      return "f32";
    case ActivationType::kInt8:
      return "int8";
    case ActivationType::kInt8Tensor:
      return "int8_tensor";
  }
  return "";
}

}  // namespace nibble
