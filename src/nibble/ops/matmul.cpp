#include "nibble/ops/matmul.h"

#include <cassert>

#include "nibble/ops/input_observer.h"
#include "nibble/ops/prepared_input.h"
#include "nibble/ops/profiler.h"
#include "nibble/ops/row_claims.h"
#include "nibble/ops/rowwise.h"
#include "nibble/weights/packed_group.h"

namespace nibble {
namespace {

/// Where a product goes: element (t, row) at data[t * stride + row].
struct Target {
  float* data;
  std::int64_t stride;
};

/// The kernel for weights of this format.
void (*find_product(const KernelSet& kernels, const PreparedInput& input,
                    WeightFormat format))(const MatmulTask&) {
  const auto index = static_cast<int>(format);
  switch (input.type_for(format)) {
    case ActivationType::kInt8:
      return kernels.matmul_int8[index];
    case ActivationType::kBF16:
      return kernels.matmul_bf16[index];
    case ActivationType::kF32:
      break;
  }
  return kernels.matmul_f32[index];
}

/// Computes some rows of one product, without bias.
void multiply_rows(const Compute& compute, const PreparedInput& input, const WeightView& weight,
                   const Rows& rows, const Target& target, std::byte* scratch) {
  MatmulTask task{.weight = weight};
  input.describe(weight, task);
  task.row_begin = rows.begin;
  task.row_end = rows.end;
  task.out = target.data;
  task.out_stride = target.stride;
  task.scratch = scratch;
  find_product(compute.kernels(), input, weight.format)(task);
}

void report_cost(const Compute& compute, std::span<const MatmulCall> calls, std::int64_t tokens) {
  if (compute.profiler() == nullptr) return;
  for (const MatmulCall& call : calls) {
    const double weights =
        static_cast<double>(call.weight->rows) * static_cast<double>(call.weight->cols);
    compute.profiler()->add_cost(weights * bits_per_weight(*call.weight) / 8,
                                 2 * weights * static_cast<double>(tokens));
  }
}

void add_bias(const KernelSet& kernels, const float* bias, const Rows& rows, std::int64_t tokens,
              const Target& target) {
  if (bias == nullptr) return;
  for (std::int64_t t = 0; t < tokens; ++t) {
    kernels.add(target.data + t * target.stride + rows.begin, bias + rows.begin, rows.count());
  }
}

void activate(const KernelSet& kernels, Activation activation, const Rows& rows,
              std::int64_t tokens, const Target& target) {
  for (std::int64_t t = 0; t < tokens; ++t) {
    float* values = target.data + t * target.stride + rows.begin;
    kernels.activate(activation, values, rows.count(), values);
  }
}

/// Brings the lines of some rows of a token's results near, to be written: from token to token they
/// are too far apart for the processors' own prefetching.
void prefetch_rows(const Target& target, const Rows& rows, std::int64_t t) {
  constexpr std::int64_t kLine = 16;  // floats
  const float* row = target.data + t * target.stride;
  for (std::int64_t r = rows.begin; r < rows.end; r += kLine) __builtin_prefetch(row + r, 1);
}
constexpr std::int64_t kTokensAhead = 8;

/// Scratch of a thread: the kernel's, and behind it a tile of results, (tokens, rows of a claim).
struct ClaimScratch {
  std::byte* kernel;
  float* tile;

  ClaimScratch(Compute& compute, int thread, std::int64_t cols, std::int64_t tile_elements) {
    const std::size_t kernel_bytes = (compute.kernels().matmul_scratch_bytes(cols) + 63) / 64 * 64;
    kernel = compute.thread_scratch(
        thread, kernel_bytes + static_cast<std::size_t>(tile_elements) * sizeof(float));
    tile = reinterpret_cast<float*>(kernel + kernel_bytes);
  }
  /// The tile as a target for these rows.
  Target target(const Rows& rows) const { return {tile - rows.begin, rows.count()}; }
};

void run_claim(Compute& compute, const PreparedInput& input, const MatmulCall& call,
               const Rows& rows, int thread) {
  const std::int64_t tokens = input.tokens();
  const ClaimScratch scratch(compute, thread, call.weight->cols,
                             call.adds ? tokens * rows.count() : 0);
  const Target out{call.out, call.weight->rows};
  const Target target = call.adds ? scratch.target(rows) : out;
  multiply_rows(compute, input, *call.weight, rows, target, scratch.kernel);
  add_bias(compute.kernels(), call.bias, rows, tokens, target);
  if (call.activation) activate(compute.kernels(), *call.activation, rows, tokens, target);
  if (!call.adds) return;
  for (std::int64_t t = 0; t < tokens; ++t) {
    if (t + kTokensAhead < tokens) prefetch_rows(out, rows, t + kTokensAhead);
    compute.kernels().add(out.data + t * out.stride + rows.begin,
                          target.data + t * target.stride + rows.begin, rows.count());
  }
}

/// The products of calls whose columns are in the same order, that of the input.
void multiply(Compute& compute, const MatmulInput& input, std::span<const MatmulCall> calls) {
  const PreparedInput prepared(compute, input, calls);
  report_cost(compute, calls, input.tokens);

  const WeightView* weights[RowClaims::kMaxMatrices];
  assert(calls.size() <= RowClaims::kMaxMatrices);
  for (std::size_t i = 0; i < calls.size(); ++i) weights[i] = calls[i].weight;
  const RowClaims claims(compute, prepared, {weights, calls.size()});
  compute.pool().parallel_for(claims.count(), [&](std::int64_t index, int thread) {
    claims.visit(index, [&](std::size_t matrix, const Rows& rows) {
      run_claim(compute, prepared, calls[matrix], rows, thread);
    });
  });
}

void multiply_gated(Compute& compute, const MatmulInput& input, const MatmulCall& gate,
                    const MatmulCall& up, float* out) {
  const std::int64_t tokens = input.tokens;
  const MatmulCall calls[] = {gate, up};
  const PreparedInput prepared(compute, input, calls);
  report_cost(compute, calls, tokens);
  const std::int64_t width = gate.weight->rows;
  const RowClaims claims(compute, prepared, {&gate.weight, 1});
  const KernelSet& kernels = compute.kernels();
  const auto run_rows = [&](const Rows& rows, int thread) {
    const ClaimScratch scratch(compute, thread, gate.weight->cols, 2 * tokens * rows.count());
    const Target gated = scratch.target(rows);
    const Target upped{gated.data + tokens * rows.count(), gated.stride};
    multiply_rows(compute, prepared, *gate.weight, rows, gated, scratch.kernel);
    add_bias(kernels, gate.bias, rows, tokens, gated);
    multiply_rows(compute, prepared, *up.weight, rows, upped, scratch.kernel);
    add_bias(kernels, up.bias, rows, tokens, upped);
    const Target target{out, width};
    for (std::int64_t t = 0; t < tokens; ++t) {
      if (t + kTokensAhead < tokens) prefetch_rows(target, rows, t + kTokensAhead);
      kernels.activate_mul(*gate.activation, gated.data + t * gated.stride + rows.begin,
                           upped.data + t * upped.stride + rows.begin, rows.count(),
                           target.data + t * target.stride + rows.begin);
    }
  };
  compute.pool().parallel_for(claims.count(), [&](std::int64_t index, int thread) {
    claims.visit(index, [&](std::size_t, const Rows& rows) { run_rows(rows, thread); });
  });
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
  MatmulInput seen = input;
  if (input.norm != nullptr) {
    const auto elements = static_cast<std::size_t>(input.tokens * features);
    float* normed = compute.observed_input().as<float>(elements);
    for_each_row(compute, input.tokens, [&](std::int64_t t) {
      const std::int64_t at = t * features;
      normalize_row(compute.kernels(), *input.norm, input.x + at, features, normed + at);
    });
    seen.x = normed;
    seen.norm = nullptr;
  }
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
  multiply(compute, ordered(compute, gate.order, input), {&gate, 1});
  multiply(compute, ordered(compute, up.order, input), {&up, 1});
  for_each_row(compute, input.tokens, [&](std::int64_t t) {
    float* row = out + t * width;
    compute.kernels().activate_mul(activation, row, up.out + t * width, width, row);
  });
}

}  // namespace

void matmul(Compute& compute, const MatmulInput& input, std::span<const MatmulCall> calls) {
  if (input.tokens == 0 || calls.empty()) return;
  const MatmulInput seen = observed(compute, input, calls);
  while (!calls.empty()) {
    std::size_t together = 1;
    while (together < calls.size() && have_same_order(calls[0], calls[together])) ++together;
    multiply(compute, ordered(compute, calls[0].order, seen), calls.first(together));
    calls = calls.subspan(together);
  }
}

void gated_matmul(Compute& compute, const MatmulInput& input, const MatmulCall& gate,
                  const MatmulCall& up, float* out) {
  assert(gate.weight->rows == up.weight->rows && gate.activation);
  if (input.tokens == 0) return;
  const MatmulCall calls[] = {gate, up};
  const MatmulInput seen = observed(compute, input, calls);
  if (!have_same_order(gate, up)) return multiply_gated_apart(compute, seen, gate, up, out);
  multiply_gated(compute, ordered(compute, gate.order, seen), gate, up, out);
}

}  // namespace nibble
