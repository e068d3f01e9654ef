#include "nibble/layers/linear.h"

#include <array>
#include <cassert>

#include "nibble/ops/matmul.h"

namespace nibble {
namespace {

MatmulCall call_of(const Linear& layer, float* out) {
  return {.weight = &layer.weight.view,
          .out = out,
          .bias = layer.bias.empty() ? nullptr : layer.bias.data()};
}

}  // namespace

void apply_linears(Compute& compute, const float* x, std::int64_t tokens,
                   std::span<const LinearCall> calls) {
  std::array<MatmulCall, 3> products{};  // q, k, v are the most that share an input
  assert(calls.size() <= products.size());
  for (std::size_t i = 0; i < calls.size(); ++i)
    products[i] = call_of(*calls[i].layer, calls[i].out);
  matmul(compute, x, tokens, std::span(products).first(calls.size()));
}

void apply_linear(Compute& compute, const Linear& layer, const float* x, std::int64_t tokens,
                  float* out) {
  const MatmulCall call = call_of(layer, out);
  matmul(compute, x, tokens, {&call, 1});
}

void add_linear(Compute& compute, const Linear& layer, const float* x, std::int64_t tokens,
                float* out) {
  MatmulCall call = call_of(layer, out);
  call.adds = true;
  matmul(compute, x, tokens, {&call, 1});
}

void apply_activated(Compute& compute, const ActivatedLayer& layer, const float* x,
                     std::int64_t tokens, float* out) {
  MatmulCall call = call_of(layer.layer, out);
  call.activation = layer.activation;
  matmul(compute, x, tokens, {&call, 1});
}

void apply_gated(Compute& compute, const GatedLayer& layer, const float* x, std::int64_t tokens,
                 float* out) {
  MatmulCall gate = call_of(layer.gate, nullptr);
  gate.activation = layer.activation;
  gated_matmul(compute, x, tokens, gate, call_of(layer.up, nullptr), out);
}

}  // namespace nibble
