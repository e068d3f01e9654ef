#include "nibble/ops/input_order.h"

#include "nibble/ops/matmul.h"
#include "nibble/ops/rowwise.h"

namespace nibble {

MatmulInput put_in_order(Compute& compute, const InputOrder& order, const MatmulInput& input) {
  const auto cols = std::ssize(order.columns);
  auto* out = compute.reordered_input().as<float>(static_cast<std::size_t>(input.tokens * cols));
  float* normed = nullptr;  // (tokens, in features)
  if (input.norm != nullptr) {
    const auto elements = static_cast<std::size_t>(input.tokens * order.in_features);
    normed = compute.input_buffers().normed.as<float>(elements);
  }
  for_each_row(compute, input.tokens, [&](std::int64_t t) {
    const float* from = input.x + t * order.in_features;
    if (normed != nullptr) {
      float* row = normed + t * order.in_features;
      normalize_row(compute.kernels(), *input.norm, from, order.in_features, row);
      from = row;
    }
    float* to = out + t * cols;
    for (const std::int32_t column : order.columns) *to++ = column < 0 ? 0.0F : from[column];
  });
  return {.x = out, .tokens = input.tokens, .never_int8 = input.never_int8};
}

}  // namespace nibble
