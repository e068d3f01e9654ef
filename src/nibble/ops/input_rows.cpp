#include "nibble/ops/input_rows.h"

#include "nibble/ops/linear_device.h"
#include "nibble/ops/rowwise.h"

namespace nibble {

MatmulInput normalized(Compute& compute, const MatmulInput& input, std::int64_t features,
                       Buffer& buffer) {
  if (input.norm == nullptr) return input;
  auto* normed = buffer.as<float>(static_cast<std::size_t>(input.tokens * features));
  for_each_row(compute, input.tokens, [&](std::int64_t t) {
    const std::int64_t at = t * features;
    normalize_row(compute.kernels(), *input.norm, input.x + at, features, normed + at);
  });
  MatmulInput out = input;
  out.x = normed;
  out.norm = nullptr;
  return out;
}

MatmulInput put_in_order(Compute& compute, const InputOrder& order, const MatmulInput& input) {
  MatmulInput out = normalized(compute, input, order.in_features, compute.input_buffers().normed);
  const auto cols = std::ssize(order.columns);
  auto* rows = compute.reordered_input().as<float>(static_cast<std::size_t>(input.tokens * cols));
  for_each_row(compute, input.tokens, [&](std::int64_t t) {
    const float* from = out.x + t * order.in_features;
    float* to = rows + t * cols;
    for (const std::int32_t column : order.columns) *to++ = column < 0 ? 0.0F : from[column];
  });
  out.x = rows;
  return out;
}

}  // namespace nibble
