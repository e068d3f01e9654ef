#include "nibble/ops/cpu_device.h"

#include <cassert>

#include "nibble/ops/prepared_input.h"
#include "nibble/ops/row_claims.h"

namespace nibble {
namespace {

/// Where a product goes: element (t, row) at data[t * stride + row].
struct Target {
  float* data;
  std::int64_t stride;
};

void add_bias(const KernelSet& kernels, const float* bias, const Rows& rows, std::int64_t tokens,
              const Target& target) {
  if (bias == nullptr) return;
  for (std::int64_t t = 0; t < tokens; ++t) {
    kernels.add(target.data + t * target.stride + rows.begin, bias + rows.begin, rows.count());
  }
}

/// The kernel for weights of this format.
void (*find_product(const KernelSet& kernels, ProductType type,
                    WeightFormat format))(const MatmulTask&) {
  const auto index = static_cast<int>(format);
  switch (type) {
    case ProductType::kInt8:
      return kernels.matmul_int8[index];
    case ProductType::kBF16:
      return kernels.matmul_bf16[index];
    case ProductType::kF32:
      break;
  }
  return kernels.matmul_f32[index];
}

/// A product and its input.
struct Product {
  const PreparedInput& input;
  std::size_t index;  // of the calls that the input was prepared for
  const MatmulCall& call;
};

/// Computes some rows of one product with its bias.
void multiply_rows(const Compute& compute, const Product& product, const Rows& rows,
                   const Target& target, std::byte* scratch) {
  const WeightView& weight = *product.call.weight;
  MatmulTask task{.weight = weight};
  product.input.describe(product.index, task);
  task.row_begin = rows.begin;
  task.row_end = rows.end;
  task.out = target.data;
  task.out_stride = target.stride;
  task.scratch = scratch;
  find_product(compute.kernels(), product.input.type_of(product.index), weight.format)(task);
  add_bias(compute.kernels(), product.call.bias, rows, product.input.tokens(), target);
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

void run_claim(Compute& compute, const Product& product, const Rows& rows, int thread) {
  const MatmulCall& call = product.call;
  const std::int64_t tokens = product.input.tokens();
  const ClaimScratch scratch(compute, thread, call.weight->cols,
                             call.adds ? tokens * rows.count() : 0);
  const Target out{call.out, call.weight->rows};
  const Target target = call.adds ? scratch.target(rows) : out;
  multiply_rows(compute, product, rows, target, scratch.kernel);
  if (call.activation) activate(compute.kernels(), *call.activation, rows, tokens, target);
  if (!call.adds) return;
  for (std::int64_t t = 0; t < tokens; ++t) {
    if (t + kTokensAhead < tokens) prefetch_rows(out, rows, t + kTokensAhead);
    compute.kernels().add(out.data + t * out.stride + rows.begin,
                          target.data + t * target.stride + rows.begin, rows.count());
  }
}

class CpuDevice : public LinearDevice {
 public:
  void multiply(Compute& compute, const MatmulInput& input,
                std::span<const MatmulCall> calls) override;
  void multiply_gated(Compute& compute, const MatmulInput& input, const MatmulCall& gate,
                      const MatmulCall& up, float* out) override;
};

void CpuDevice::multiply(Compute& compute, const MatmulInput& input,
                         std::span<const MatmulCall> calls) {
  const PreparedInput prepared(compute, input, calls);
  const WeightView* weights[kMaxMatmulCalls];
  assert(calls.size() <= kMaxMatmulCalls);
  for (std::size_t i = 0; i < calls.size(); ++i) weights[i] = calls[i].weight;
  const RowClaims claims(compute, prepared, {weights, calls.size()});
  compute.pool().parallel_for(claims.count(), [&](std::int64_t index, int thread) {
    claims.visit(index, [&](std::size_t matrix, const Rows& rows) {
      run_claim(compute, {prepared, matrix, calls[matrix]}, rows, thread);
    });
  });
}

void CpuDevice::multiply_gated(Compute& compute, const MatmulInput& input, const MatmulCall& gate,
                               const MatmulCall& up, float* out) {
  const std::int64_t tokens = input.tokens;
  const MatmulCall calls[] = {gate, up};
  const PreparedInput prepared(compute, input, calls);
  const std::int64_t width = gate.weight->rows;
  const RowClaims claims(compute, prepared, {&gate.weight, 1});
  const KernelSet& kernels = compute.kernels();
  const auto run_rows = [&](const Rows& rows, int thread) {
    const ClaimScratch scratch(compute, thread, gate.weight->cols, 2 * tokens * rows.count());
    const Target gated = scratch.target(rows);
    const Target upped{gated.data + tokens * rows.count(), gated.stride};
    multiply_rows(compute, {prepared, 0, gate}, rows, gated, scratch.kernel);
    multiply_rows(compute, {prepared, 1, up}, rows, upped, scratch.kernel);
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

}  // namespace

LinearDevice& cpu_device() {
  static CpuDevice device;
  return device;
}

}  // namespace nibble
