#include "nibble/models/gguf_names.h"

#include <algorithm>
#include <tuple>

#include "nibble/models/architecture.h"

namespace nibble {
namespace {

struct GgufName {
  ModuleRole role;
  const char* name;
};

/// In the order of llama.cpp's files.
constexpr GgufName kNames[] = {
    {ModuleRole::kEmbedding, "token_embd"},     {ModuleRole::kInputNorm, "blk.{}.attn_norm"},
    {ModuleRole::kQ, "blk.{}.attn_q"},          {ModuleRole::kK, "blk.{}.attn_k"},
    {ModuleRole::kQNorm, "blk.{}.attn_q_norm"}, {ModuleRole::kKNorm, "blk.{}.attn_k_norm"},
    {ModuleRole::kV, "blk.{}.attn_v"},          {ModuleRole::kO, "blk.{}.attn_output"},
    {ModuleRole::kPostNorm, "blk.{}.ffn_norm"}, {ModuleRole::kGate, "blk.{}.ffn_gate"},
    {ModuleRole::kUp, "blk.{}.ffn_up"},         {ModuleRole::kDown, "blk.{}.ffn_down"},
    {ModuleRole::kFinalNorm, "output_norm"},    {ModuleRole::kHead, "output"}};

const GgufName* find_name(ModuleRole role) {
  return std::find_if(std::begin(kNames), std::end(kNames),
                      [role](const GgufName& name) { return name.role == role; });
}

/// Modules that have a name, in the order of llama.cpp's files.
std::vector<Module> named_modules(const ModelSpec& spec) {
  std::vector<Module> modules = spec.modules();
  std::erase_if(modules,
                [](const Module& module) { return find_name(module.role) == std::end(kNames); });
  const auto place = [](const Module& module) {
    const bool is_behind_blocks = module.layer < 0 && module.role != ModuleRole::kEmbedding;
    return std::tuple(is_behind_blocks, module.layer, find_name(module.role));
  };
  std::stable_sort(modules.begin(), modules.end(),
                   [&](const Module& a, const Module& b) { return place(a) < place(b); });
  return modules;
}

std::int64_t heads_of(const ModelSpec& spec, ModuleRole role) {
  return role == ModuleRole::kQ ? spec.n_heads : role == ModuleRole::kK ? spec.n_kv_heads : 0;
}

}  // namespace

std::vector<GgufModule> gguf_modules(const ModelSpec& spec, const Architecture& architecture) {
  std::vector<GgufModule> modules;
  for (const Module& module : named_modules(spec)) {
    modules.push_back({.gguf = block_name(find_name(module.role)->name, module.layer),
                       .name = module.name,
                       .interleaved_heads = architecture.gguf_permutes_qk
                                                ? heads_of(spec, module.role)
                                                : std::int64_t{0},
                       // A norm that adds a number to its weight finds the sum in a GGUF file.
                       .added = module.kind == ModuleKind::kNorm ? spec.norm.weight_offset : 0.0f});
  }
  return modules;
}

}  // namespace nibble
