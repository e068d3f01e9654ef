#include "nibble/models/gguf_names.h"

#include "nibble/models/architecture.h"

namespace nibble {

std::vector<GgufModule> gguf_modules(const ModelSpec& spec, const Architecture& architecture) {
  std::vector<GgufModule> modules;
  const auto add = [&](const std::string& gguf, const std::string& name, std::int64_t layer,
                       std::int64_t heads = 0) {
    if (name.empty()) return;
    modules.push_back({.gguf = block_name(gguf, layer),
                       .name = block_name(name, layer),
                       .interleaved_heads = architecture.gguf_permutes_qk ? heads : 0});
  };
  add("token_embd", spec.embedding, 0);
  for (std::int64_t layer = 0; layer < spec.n_layers; ++layer) {
    add("blk.{}.attn_norm", spec.input_norm, layer);
    add("blk.{}.attn_q", spec.q.name, layer, spec.n_heads);
    add("blk.{}.attn_k", spec.k.name, layer, spec.n_kv_heads);
    add("blk.{}.attn_v", spec.v.name, layer);
    add("blk.{}.attn_output", spec.o.name, layer);
    add("blk.{}.ffn_norm", spec.post_norm, layer);
    add("blk.{}.ffn_gate", spec.gate.name, layer);
    add("blk.{}.ffn_up", spec.up.name, layer);
    add("blk.{}.ffn_down", spec.down.name, layer);
  }
  add("output_norm", spec.final_norm, 0);
  add("output", spec.head.name, 0);
  return modules;
}

}  // namespace nibble
