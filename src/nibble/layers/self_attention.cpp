#include "nibble/layers/self_attention.h"

#include "nibble/ops/rowwise.h"

namespace nibble {

void SelfAttention::add_to(Compute& compute, const float* x, std::int64_t tokens, const Rope& rope,
                           KvCache& cache, std::int64_t layer, Buffer& scratch, float* out) const {
  const std::int64_t q_width = q.out_features();
  const std::int64_t kv_width = k.out_features();
  float* queries = scratch.as<float>(static_cast<std::size_t>(2 * tokens * (q_width + kv_width)));
  float* attended = queries + tokens * q_width;  // (tokens, q_width)
  float* keys = attended + tokens * q_width;     // (tokens, kv_width)
  float* values = keys + tokens * kv_width;      // (tokens, kv_width)

  const LinearCall calls[] = {{&q, queries}, {&k, keys}, {&v, values}};
  apply_linears(compute, x, tokens, calls);
  const KernelSet& kernels = compute.kernels();
  for_each_row(compute, tokens, [&](std::int64_t t) {
    kernels.rope(queries + t * q_width, rope.cos(t), rope.sin(t), shape.n_heads, shape.head_dim);
    kernels.rope(keys + t * kv_width, rope.cos(t), rope.sin(t), shape.n_kv_heads, shape.head_dim);
  });
  cache.store(kernels, layer, keys, values, tokens);
  attention(compute, shape, cache.layer(layer), queries, cache.length(), tokens, attended);
  add_linear(compute, o, attended, tokens, out);
}

}  // namespace nibble
