#include "nibble/ops/matmul.h"

#include <cassert>

#include "nibble/core/buffer.h"
#include "nibble/ops/input_observer.h"
#include "nibble/ops/profiler.h"
#include "nibble/ops/rowwise.h"
#include "nibble/weights/weight_codec.h"

namespace nibble {
namespace {

void report_cost(const Compute& compute, std::span<const MatmulCall> calls, std::int64_t tokens) {
  if (compute.profiler() == nullptr) return;
  for (const MatmulCall& call : calls) {
    const double weights =
        static_cast<double>(call.weight->rows) * static_cast<double>(call.weight->cols);
    compute.profiler()->add_cost(weights * bits_per_weight(*call.weight) / 8,
                                 2 * weights * static_cast<double>(tokens));
  }
}

bool have_same_order(const MatmulCall& a, const MatmulCall& b) {
  if (a.order == nullptr || b.order == nullptr) return a.order == b.order;
  return *a.order == *b.order;
}

MatmulInput ordered(Compute& compute, const InputOrder* order, const MatmulInput& input) {
  return order == nullptr ? input : put_in_order(compute, *order, input);
}

/// Shows the input to the observer, if there is one. Returns it as the products are to take it: it
/// need not be normalized twice.
MatmulInput observed(Compute& compute, const MatmulInput& input,
                     std::span<const MatmulCall> calls) {
  InputObserver* observer = compute.input_observer();
  if (observer == nullptr) return input;
  const MatmulCall& first = calls[0];
  const std::int64_t features = first.order ? first.order->in_features : first.weight->cols;
  const MatmulInput seen = normalized(compute, input, features, compute.observed_input());
  observer->observe({seen.x, input.tokens, features, calls});
  return seen;
}

/// The gated product of layers whose columns are in different orders.
void multiply_gated_apart(Compute& compute, const MatmulInput& input, MatmulCall gate,
                          MatmulCall up, float* out) {
  const std::int64_t width = gate.weight->rows;
  const Activation activation = *gate.activation;
  Buffer buffer;
  gate.out = out;
  gate.activation = std::nullopt;
  up.out = buffer.as<float>(static_cast<std::size_t>(input.tokens * width));
  compute.device().multiply(compute, ordered(compute, gate.order, input), {&gate, 1});
  compute.device().multiply(compute, ordered(compute, up.order, input), {&up, 1});
  for_each_row(compute, input.tokens, [&](std::int64_t t) {
    float* row = out + t * width;
    compute.kernels().activate_mul(activation, row, up.out + t * width, width, row);
  });
}

}  // namespace

void matmul(Compute& compute, const MatmulInput& input, std::span<const MatmulCall> calls) {
  if (input.tokens == 0 || calls.empty()) return;
  report_cost(compute, calls, input.tokens);
  const MatmulInput seen = observed(compute, input, calls);
  while (!calls.empty()) {
    std::size_t together = 1;
    while (together < calls.size() && have_same_order(calls[0], calls[together])) ++together;
    compute.device().multiply(compute, ordered(compute, calls[0].order, seen),
                              calls.first(together));
    calls = calls.subspan(together);
  }
}

void gated_matmul(Compute& compute, const MatmulInput& input, const MatmulCall& gate,
                  const MatmulCall& up, float* out) {
  assert(gate.weight->rows == up.weight->rows && gate.activation);
  if (input.tokens == 0) return;
  const MatmulCall calls[] = {gate, up};
  report_cost(compute, calls, input.tokens);
  const MatmulInput seen = observed(compute, input, calls);
  if (!have_same_order(gate, up)) return multiply_gated_apart(compute, seen, gate, up, out);
  compute.device().multiply_gated(compute, ordered(compute, gate.order, seen), gate, up, out);
}

}  // namespace nibble
