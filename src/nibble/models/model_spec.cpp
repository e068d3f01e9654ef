#include "nibble/models/model_spec.h"

#include <utility>

namespace nibble {
namespace {

/// Collects the modules of a model.
class ModuleList {
 public:
  explicit ModuleList(const ModelSpec& spec) : spec_(spec) {}

  void add_table(ModuleRole role, const std::string& name, std::int64_t rows, std::int64_t width) {
    add(role, ModuleKind::kTable, name, {rows, width});
  }
  void add_linear(ModuleRole role, const LinearSpec& linear) {
    add(role, ModuleKind::kLinear, linear.name, {linear.out, linear.in});
    modules_.back().has_bias = linear.bias;
  }
  void add_linear(ModuleRole role, const std::optional<LinearSpec>& linear) {
    if (linear) add_linear(role, *linear);
  }
  /// None of no name.
  void add_norm(ModuleRole role, const std::string& name, std::int64_t size) {
    if (name.empty()) return;
    add(role, ModuleKind::kNorm, name, {size});
    modules_.back().has_weight = spec_.norm.has_weight;
    modules_.back().has_bias = spec_.norm.has_bias;
  }
  void add_block(std::int64_t layer) {
    layer_ = layer;
    add_linear(ModuleRole::kQ, spec_.q);
    add_linear(ModuleRole::kK, spec_.k);
    add_linear(ModuleRole::kV, spec_.v);
    add_linear(ModuleRole::kO, spec_.o);
    add_linear(ModuleRole::kGate, spec_.gate);
    add_linear(ModuleRole::kUp, spec_.up);
    add_linear(ModuleRole::kDown, spec_.down);
    add_norm(ModuleRole::kInputNorm, spec_.input_norm, spec_.hidden);
    add_norm(ModuleRole::kQNorm, spec_.q_norm, spec_.head_dim);
    add_norm(ModuleRole::kKNorm, spec_.k_norm, spec_.head_dim);
    add_norm(ModuleRole::kPostNorm, spec_.post_norm, spec_.hidden);
    layer_ = -1;
  }

  std::vector<Module> take() { return std::move(modules_); }

 private:
  void add(ModuleRole role, ModuleKind kind, const std::string& name,
           std::vector<std::int64_t> shape) {
    modules_.push_back({role, kind, layer_, block_name(name, layer_), std::move(shape)});
  }

  const ModelSpec& spec_;
  std::int64_t layer_ = -1;
  std::vector<Module> modules_;
};

}  // namespace

std::string block_name(const std::string& pattern, std::int64_t layer) {
  const std::size_t at = pattern.find("{}");
  if (at == std::string::npos) return pattern;
  return pattern.substr(0, at) + std::to_string(layer) + pattern.substr(at + 2);
}

std::vector<Module> ModelSpec::modules() const {
  ModuleList list(*this);
  list.add_table(ModuleRole::kEmbedding, embedding, vocab, embedding_width);
  if (positions) list.add_table(ModuleRole::kPositions, positions->name, positions->rows, hidden);
  list.add_linear(ModuleRole::kProjectIn, project_in);
  for (std::int64_t layer = 0; layer < n_layers; ++layer) list.add_block(layer);
  list.add_norm(ModuleRole::kFinalNorm, final_norm, hidden);
  list.add_linear(ModuleRole::kProjectOut, project_out);
  list.add_linear(ModuleRole::kHead, head);
  return list.take();
}

std::vector<LinearSpec> ModelSpec::linears() const {
  std::vector<LinearSpec> all;
  for (const Module& module : modules()) {
    if (module.kind == ModuleKind::kLinear) all.push_back(module.linear());
  }
  return all;
}

const LinearSpec* ModelSpec::block_linear(ModuleRole role) const {
  switch (role) {
    case ModuleRole::kQ:
      return &q;
    case ModuleRole::kK:
      return &k;
    case ModuleRole::kV:
      return &v;
    case ModuleRole::kO:
      return &o;
    case ModuleRole::kGate:
      return gate ? &*gate : nullptr;
    case ModuleRole::kUp:
      return &up;
    case ModuleRole::kDown:
      return &down;
    default:
      return nullptr;
  }
}

std::string ModelSpec::block_module(ModuleRole role, std::int64_t layer) const {
  if (role == ModuleRole::kInputNorm) return block_name(input_norm, layer);
  if (role == ModuleRole::kPostNorm) return block_name(post_norm, layer);
  return block_name(block_linear(role)->name, layer);
}

}  // namespace nibble
