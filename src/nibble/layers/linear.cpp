#include "nibble/layers/linear.h"

#include <array>
#include <cassert>

#include "nibble/ops/matmul.h"
#include "nibble/ops/rowwise.h"

namespace nibble {
namespace {

MatmulCall call_of(const Linear& layer, float* out) {
  return {.weight = &layer.weight.view,
          .out = out,
          .bias = layer.bias.empty() ? nullptr : layer.bias.data()};
}

/// The input as the layer's columns want it: itself, or normalized and reordered in a buffer that
/// the next call overwrites.
MatmulInput ordered_input(Compute& compute, const Linear& layer, const MatmulInput& input) {
  if (!layer.is_reordered()) return input;
  const InputOrder& order = layer.order;
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

/// The gated product of two layers whose columns are in different orders.
void apply_gated_apart(Compute& compute, const GatedLayer& layer, const MatmulInput& input,
                       float* out) {
  const std::int64_t width = layer.gate.out_features();
  Buffer buffer;
  float* factors = buffer.as<float>(static_cast<std::size_t>(input.tokens * width));
  apply_linear(compute, layer.gate, input, out);
  apply_linear(compute, layer.up, input, factors);
  for_each_row(compute, input.tokens, [&](std::int64_t t) {
    float* row = out + t * width;
    compute.kernels().activate_mul(layer.activation, row, factors + t * width, width, row);
  });
}

}  // namespace

void apply_linears(Compute& compute, const MatmulInput& input, std::span<const LinearCall> calls) {
  std::array<MatmulCall, 3> products{};  // q, k, v are the most that share an input
  assert(calls.size() <= products.size());
  for (std::size_t i = 0; i < calls.size();) {  // those in a row that take the same order, at once
    const Linear& first = *calls[i].layer;
    std::size_t count = 0;
    for (; i < calls.size() && calls[i].layer->order == first.order; ++i) {
      products[count++] = call_of(*calls[i].layer, calls[i].out);
    }
    matmul(compute, ordered_input(compute, first, input), std::span(products).first(count));
  }
}

void apply_linear(Compute& compute, const Linear& layer, const MatmulInput& input, float* out) {
  const MatmulCall call = call_of(layer, out);
  matmul(compute, ordered_input(compute, layer, input), {&call, 1});
}

void add_linear(Compute& compute, const Linear& layer, const MatmulInput& input, float* out) {
  MatmulCall call = call_of(layer, out);
  call.adds = true;
  matmul(compute, ordered_input(compute, layer, input), {&call, 1});
}

void apply_activated(Compute& compute, const ActivatedLayer& layer, const MatmulInput& input,
                     float* out) {
  MatmulCall call = call_of(layer.layer, out);
  call.activation = layer.activation;
  matmul(compute, ordered_input(compute, layer.layer, input), {&call, 1});
}

void apply_gated(Compute& compute, const GatedLayer& layer, const MatmulInput& input, float* out) {
  if (layer.gate.order != layer.up.order) return apply_gated_apart(compute, layer, input, out);
  MatmulCall gate = call_of(layer.gate, nullptr);
  gate.activation = layer.activation;
  gated_matmul(compute, ordered_input(compute, layer.gate, input), gate, call_of(layer.up, nullptr),
               out);
}

}  // namespace nibble
