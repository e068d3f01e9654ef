#include "nibble/quant/learning/activation_gradient.h"

#include <cmath>

namespace nibble {

ActivationSlope activation_slope(Activation activation, float x) {
  switch (activation) {
    case Activation::kSilu: {
      const float s = 1 / (1 + std::exp(-x));
      return {x * s, s * (1 + x * (1 - s))};
    }
    case Activation::kGelu: {
      const float below = 0.5F * std::erfc(-x * static_cast<float>(M_SQRT1_2));  // Phi(x)
      const float density = std::exp(-0.5F * x * x) * 0.39894228F;               // 1 / sqrt(2 pi)
      return {x * below, below + x * density};
    }
    case Activation::kGeluTanh: {
      const float inner = 1.59576912F * (x + 0.044715F * x * x * x);  // 2 sqrt(2 / pi)
      const float s = 1 / (1 + std::exp(-inner));
      const float inner_slope = 1.59576912F * (1 + 3 * 0.044715F * x * x);
      return {x * s, s + x * s * (1 - s) * inner_slope};
    }
    case Activation::kRelu:
      return {x > 0 ? x : 0, x > 0 ? 1.0F : 0.0F};
  }
  return {};
}

}  // namespace nibble
