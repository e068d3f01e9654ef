#include "nibble/ops/plain_device.h"

#include "nibble/ops/cpu_device.h"
#include "nibble/ops/product_device.h"
#include "nibble/ops/rowwise.h"

namespace nibble {

MatmulInput PlainDevice::prepare(Compute& compute, const MatmulInput& input,
                                 std::int64_t features) {
  return fused_.has(Fusion::kNorm) ? input : normalized(compute, input, features, normed_);
}

void PlainDevice::multiply(Compute& compute, const MatmulInput& input,
                           std::span<const MatmulCall> calls) {
  const MatmulInput prepared = prepare(compute, input, calls[0].weight->cols);
  if (calls.size() > 1 && fused_.has(Fusion::kProjections)) {
    return cpu_device().multiply(compute, prepared, calls);
  }
  for (const MatmulCall& call : calls) multiply_one(compute, prepared, call);
}

void PlainDevice::multiply_one(Compute& compute, const MatmulInput& input, const MatmulCall& call) {
  MatmulCall product = call;
  MatmulCall rest = call;
  if (fused_.has(Fusion::kActivation)) {
    rest.activation = std::nullopt;
  } else {
    product.activation = std::nullopt;
  }
  if (fused_.has(Fusion::kResidual)) {
    rest.adds = false;
  } else if (call.adds) {
    product.adds = false;
    product.out = results_.as<float>(static_cast<std::size_t>(input.tokens * call.weight->rows));
  }
  cpu_device().multiply(compute, input, {&product, 1});
  finish_product(compute, rest, product.out, input.tokens);
}

void PlainDevice::multiply_gated(Compute& compute, const MatmulInput& input, const MatmulCall& gate,
                                 const MatmulCall& up, float* out) {
  const MatmulInput prepared = prepare(compute, input, gate.weight->cols);
  if (fused_.has(Fusion::kActivation)) {
    return cpu_device().multiply_gated(compute, prepared, gate, up, out);
  }
  const std::int64_t width = gate.weight->rows;
  MatmulCall products[] = {gate, up};
  products[0].out = out;
  products[0].activation = std::nullopt;
  products[1].out = results_.as<float>(static_cast<std::size_t>(input.tokens * width));
  for (const MatmulCall& product : products) {
    cpu_device().multiply(compute, prepared, {&product, 1});
  }
  for_each_row(compute, input.tokens, [&](std::int64_t t) {
    float* row = out + t * width;
    compute.kernels().activate_mul(*gate.activation, row, products[1].out + t * width, width, row);
  });
}

}  // namespace nibble
