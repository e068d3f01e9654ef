#include "nibble/layers/self_attention.h"

#include "nibble/ops/profiler.h"
#include "nibble/ops/rowwise.h"

namespace nibble {

void SelfAttention::rotate_and_store(Compute& compute, const Pass& pass, std::int64_t layer,
                                     const Projections& projected) const {
  const std::int64_t q_width = q.out_features();
  const std::int64_t kv_width = k.out_features();
  const KernelSet& kernels = compute.kernels();
  const Rope& rope = pass.rope();
  const auto rotate = [&](const std::optional<Norm>& norm, float* vectors, std::int64_t heads,
                          std::int64_t row) {
    if (norm) norm->apply_here(kernels, vectors, heads, vectors);
    if (rope.half() == 0) return;
    kernels.rope(vectors, rope.cos(row), rope.sin(row), heads, shape.head_dim);
  };
  const auto rotate_queries = [&](std::int64_t row) {
    rotate(q_norm, projected.queries + row * q_width, shape.n_heads, row);
  };
  const auto rotate_keys = [&](std::int64_t row) {
    rotate(k_norm, projected.keys + row * kv_width, shape.n_kv_heads, row);
  };
  const auto store = [&](std::int64_t row) {
    pass.cache(row).store(kernels, layer, pass.positions()[static_cast<std::size_t>(row)],
                          projected.keys + row * kv_width, projected.values + row * kv_width);
  };
  if (!compute.fusion().has(Fusion::kRope)) {
    for_each_row(compute, pass.rows(), rotate_queries);
    for_each_row(compute, pass.rows(), rotate_keys);
    for_each_row(compute, pass.rows(), store);
    return;
  }
  for_each_row(compute, pass.rows(), [&](std::int64_t row) {
    rotate_queries(row);
    rotate_keys(row);
    store(row);
  });
}

float* SelfAttention::attend(Compute& compute, const MatmulInput& input, Pass& pass,
                             std::int64_t layer) const {
  const std::int64_t rows = pass.rows();
  const std::int64_t q_width = q.out_features();
  const std::int64_t kv_width = k.out_features();
  Projections projected{};
  projected.queries =
      pass.scratch().as<float>(static_cast<std::size_t>(2 * rows * (q_width + kv_width)));
  projected.keys = projected.queries + rows * q_width;
  projected.values = projected.keys + rows * kv_width;
  float* attended = projected.values + rows * kv_width;  // (rows, q_width)

  const LinearCall calls[] = {
      {&q, projected.queries}, {&k, projected.keys}, {&v, projected.values}};
  {
    const ProfileScope scope(compute, "q k v");
    apply_linears(compute, input, calls);
  }
  {
    const ProfileScope scope(compute, "rope and cache");
    rotate_and_store(compute, pass, layer, projected);
  }
  {
    const ProfileScope scope(compute, "attention");
    attention(compute, shape, pass.layer(layer), projected.queries, attended);
  }
  return attended;
}

void SelfAttention::add_to(Compute& compute, const MatmulInput& input, Pass& pass,
                           std::int64_t layer, float* out) const {
  const float* attended = attend(compute, input, pass, layer);
  const ProfileScope scope(compute, "o");
  add_linear(compute, o, {.x = attended, .tokens = pass.rows()}, out);
}

}  // namespace nibble
