#include "nibble/layers/linear.h"

#include <array>
#include <cassert>

namespace nibble {
namespace {

MatmulCall call_of(const Linear& layer, float* out) {
  return {.weight = &layer.weight.view,
          .out = out,
          .bias = layer.bias.empty() ? nullptr : layer.bias.data(),
          .order = layer.is_reordered() ? &layer.order : nullptr,
          .activations = layer.activations};
}

}  // namespace

void apply_linears(Compute& compute, const MatmulInput& input, std::span<const LinearCall> calls) {
  std::array<MatmulCall, 3> products{};  // q, k, v are the most that share an input
  assert(calls.size() <= products.size());
  for (std::size_t i = 0; i < calls.size(); ++i) {
    products[i] = call_of(*calls[i].layer, calls[i].out);
  }
  matmul(compute, input, std::span(products).first(calls.size()));
}

void apply_linear(Compute& compute, const Linear& layer, const MatmulInput& input, float* out) {
  const MatmulCall call = call_of(layer, out);
  matmul(compute, input, {&call, 1});
}

void add_linear(Compute& compute, const Linear& layer, const MatmulInput& input, float* out) {
  MatmulCall call = call_of(layer, out);
  call.adds = true;
  matmul(compute, input, {&call, 1});
}

void apply_activated(Compute& compute, const ActivatedLayer& layer, const MatmulInput& input,
                     float* out) {
  MatmulCall call = call_of(layer.layer, out);
  call.activation = layer.activation;
  matmul(compute, input, {&call, 1});
}

void apply_gated(Compute& compute, const GatedLayer& layer, const MatmulInput& input, float* out) {
  MatmulCall gate = call_of(layer.gate, nullptr);
  gate.activation = layer.activation;
  gated_matmul(compute, input, gate, call_of(layer.up, nullptr), out);
}

}  // namespace nibble
