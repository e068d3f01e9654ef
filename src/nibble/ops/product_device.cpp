#include "nibble/ops/product_device.h"

#include <array>
#include <cassert>

#include "nibble/ops/rowwise.h"

namespace nibble {
namespace {

std::int64_t elements_of(const MatmulCall& call, std::int64_t tokens) {
  return call.weight->rows * tokens;
}

}  // namespace

void finish_product(Compute& compute, const MatmulCall& call, float* product, std::int64_t tokens) {
  if (!call.adds && !call.activation) return;
  const std::int64_t rows = call.weight->rows;
  const KernelSet& kernels = compute.kernels();
  for_each_row(compute, tokens, [&](std::int64_t t) {
    float* row = product + t * rows;
    if (call.activation) kernels.activate(*call.activation, row, rows, row);
    if (call.adds) kernels.add(call.out + t * rows, row, rows);
  });
}

void ProductDevice::multiply(Compute& compute, const MatmulInput& input,
                             std::span<const MatmulCall> calls) {
  assert(calls.size() <= kMaxMatmulCalls);
  std::int64_t elements = 0;
  for (const MatmulCall& call : calls) elements += call.adds ? elements_of(call, input.tokens) : 0;
  auto* results = results_.as<float>(static_cast<std::size_t>(elements));
  std::array<MatmulCall, kMaxMatmulCalls> plain{};
  for (std::size_t i = 0; i < calls.size(); ++i) {
    plain[i] = calls[i];
    plain[i].adds = false;
    plain[i].activation = std::nullopt;
    if (!calls[i].adds) continue;
    plain[i].out = results;
    results += elements_of(calls[i], input.tokens);
  }
  const auto products_of = std::span(plain).first(calls.size());
  products(compute, normalized(compute, input, calls[0].weight->cols, normed_), products_of);
  for (std::size_t i = 0; i < calls.size(); ++i) {
    finish_product(compute, calls[i], plain[i].out, input.tokens);
  }
}

void ProductDevice::multiply_gated(Compute& compute, const MatmulInput& input,
                                   const MatmulCall& gate, const MatmulCall& up, float* out) {
  const std::int64_t width = gate.weight->rows;
  MatmulCall plain[] = {gate, up};
  plain[0].out = out;
  plain[0].activation = std::nullopt;
  plain[1].out = results_.as<float>(static_cast<std::size_t>(elements_of(up, input.tokens)));
  products(compute, normalized(compute, input, gate.weight->cols, normed_), plain);
  for_each_row(compute, input.tokens, [&](std::int64_t t) {
    float* row = out + t * width;
    compute.kernels().activate_mul(*gate.activation, row, plain[1].out + t * width, width, row);
  });
}

}  // namespace nibble
