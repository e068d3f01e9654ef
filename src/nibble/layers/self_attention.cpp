#include "nibble/layers/self_attention.h"

#include "nibble/ops/profiler.h"
#include "nibble/ops/rowwise.h"

namespace nibble {

void SelfAttention::place_and_store(Compute& compute, std::int64_t tokens, const Rope& rope,
                                    KvCache& cache, std::int64_t layer,
                                    const Projections& projected) const {
  const std::int64_t q_width = q.out_features();
  const std::int64_t kv_width = k.out_features();
  const KernelSet& kernels = compute.kernels();
  const auto place = [&](const std::optional<Norm>& norm, float* vectors, std::int64_t heads,
                         std::int64_t t) {
    if (norm) norm->apply_here(kernels, vectors, heads, vectors);
    if (rope.half() > 0) kernels.rope(vectors, rope.cos(t), rope.sin(t), heads, shape.head_dim);
  };
  if (q_norm || k_norm || rope.half() > 0) {
    for_each_row(compute, tokens, [&](std::int64_t t) {
      place(q_norm, projected.queries + t * q_width, shape.n_heads, t);
      place(k_norm, projected.keys + t * kv_width, shape.n_kv_heads, t);
    });
  }
  cache.store(compute, layer, projected.keys, projected.values, tokens);
}

void SelfAttention::add_to(Compute& compute, const MatmulInput& input, const Rope& rope,
                           KvCache& cache, std::int64_t layer, Buffer& scratch, float* out) const {
  const std::int64_t tokens = input.tokens;
  const std::int64_t q_width = q.out_features();
  const std::int64_t kv_width = k.out_features();
  Projections projected{};
  projected.queries =
      scratch.as<float>(static_cast<std::size_t>(2 * tokens * (q_width + kv_width)));
  projected.keys = projected.queries + tokens * q_width;
  projected.values = projected.keys + tokens * kv_width;
  float* attended = projected.values + tokens * kv_width;  // (tokens, q_width)

  const LinearCall calls[] = {
      {&q, projected.queries}, {&k, projected.keys}, {&v, projected.values}};
  {
    const ProfileScope scope(compute, "q k v");
    apply_linears(compute, input, calls);
  }
  {
    const ProfileScope scope(compute, "rope and cache");
    place_and_store(compute, tokens, rope, cache, layer, projected);
  }
  {
    const ProfileScope scope(compute, "attention");
    attention(compute, shape, cache.layer(layer), projected.queries, cache.length(), tokens,
              attended);
  }
  const ProfileScope scope(compute, "o");
  add_linear(compute, o, {.x = attended, .tokens = tokens}, out);
}

}  // namespace nibble
