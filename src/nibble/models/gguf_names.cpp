#include "nibble/models/gguf_names.h"

#include "nibble/models/architecture.h"

namespace nibble {

std::vector<GgufModule> gguf_modules(const ModelSpec& spec, const Architecture& architecture) {
  std::vector<GgufModule> modules;
  const auto add = [&](const std::string& gguf, const std::string& name, std::int64_t layer,
                       std::int64_t heads = 0) {
    modules.push_back({.gguf = block_name(gguf, layer),
                       .name = block_name(name, layer),
                       .interleaved_heads = architecture.gguf_permutes_qk ? heads : 0});
  };
  // A norm that adds a number to its weight finds the sum in a GGUF file.
  const auto add_norm = [&](const std::string& gguf, const std::string& name, std::int64_t layer) {
    if (name.empty()) return;
    add(gguf, name, layer);
    modules.back().added = spec.norm.weight_offset;
  };
  add("token_embd", spec.embedding, 0);
  for (std::int64_t layer = 0; layer < spec.n_layers; ++layer) {
    add_norm("blk.{}.attn_norm", spec.input_norm, layer);
    add("blk.{}.attn_q", spec.q.name, layer, spec.n_heads);
    add("blk.{}.attn_k", spec.k.name, layer, spec.n_kv_heads);
    add_norm("blk.{}.attn_q_norm", spec.q_norm, layer);
    add_norm("blk.{}.attn_k_norm", spec.k_norm, layer);
    add("blk.{}.attn_v", spec.v.name, layer);
    add("blk.{}.attn_output", spec.o.name, layer);
    add_norm("blk.{}.ffn_norm", spec.post_norm, layer);
    if (spec.gate) add("blk.{}.ffn_gate", spec.gate->name, layer);
    add("blk.{}.ffn_up", spec.up.name, layer);
    add("blk.{}.ffn_down", spec.down.name, layer);
  }
  add_norm("output_norm", spec.final_norm, 0);
  add("output", spec.head.name, 0);
  return modules;
}

}  // namespace nibble
