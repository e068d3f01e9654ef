#include "nibble/layers/linear.h"

#include <array>
#include <cassert>

#include "nibble/ops/matmul.h"
#include "nibble/ops/rowwise.h"

namespace nibble {
namespace {

void add_bias(Compute& compute, const std::vector<float>& bias, std::int64_t tokens, float* out) {
  if (bias.empty()) return;
  const auto width = static_cast<std::int64_t>(bias.size());
  for_each_row(compute, tokens,
               [&](std::int64_t t) { compute.kernels().add(out + t * width, bias.data(), width); });
}

}  // namespace

void apply_linears(Compute& compute, const float* x, std::int64_t tokens,
                   std::span<const LinearCall> calls) {
  std::array<MatmulCall, 3> products{};  // q, k, v are the most that share an input
  assert(calls.size() <= products.size());
  for (std::size_t i = 0; i < calls.size(); ++i) {
    products[i] = {&calls[i].layer->weight.view, calls[i].out};
  }
  matmul(compute, x, tokens, std::span(products).first(calls.size()));
  for (const LinearCall& call : calls) {
    add_bias(compute, call.layer->bias, tokens, call.out);
  }
}

void apply_linear(Compute& compute, const Linear& layer, const float* x, std::int64_t tokens,
                  float* out) {
  const LinearCall call{&layer, out};
  apply_linears(compute, x, tokens, {&call, 1});
}

}  // namespace nibble
