// The module tree, rebuilt from the names of the modules that hold parameters.
#include <algorithm>
#include <string_view>
#include <utility>

#include "nibble/bench/inspection.h"
#include "nibble/core/error.h"

namespace nibble {
namespace {

struct Module {
  std::string name;  // within its parent: "self_attn", "0"
  std::string leaf;  // "Linear(...)" of one without children
  std::vector<Module> children;

  bool is_numbered() const {
    return !name.empty() && name.find_first_not_of("0123456789") == std::string::npos;
  }
};

/// Puts `leaf` at "model.layers.0.mlp.up_proj", making what lies between.
void insert(Module& root, std::string_view path, std::string leaf) {
  Module* at = &root;
  while (!path.empty()) {
    const std::size_t dot = std::min(path.find('.'), path.size());
    const std::string_view part = path.substr(0, dot);
    path.remove_prefix(std::min(dot + 1, path.size()));
    // The last child as a rule: modules come in order.
    const auto found = std::find_if(at->children.rbegin(), at->children.rend(),
                                    [&](const Module& child) { return child.name == part; });
    if (found != at->children.rend()) {
      at = &*found;
    } else {
      at->children.push_back({std::string(part), "", {}});
      at = &at->children.back();
    }
  }
  at->leaf = std::move(leaf);
}

/// The class that transformers has for a module; `prefix` is that of the architecture ("Llama").
std::string class_name(const Module& module, const std::string& prefix) {
  constexpr std::pair<std::string_view, std::string_view> kClasses[] = {
      {"model", "Model"}, {"decoder", "Decoder"}, {"self_attn", "Attention"}, {"mlp", "MLP"}};
  if (module.children.front().is_numbered()) return "ModuleList";
  if (module.is_numbered()) return prefix + "DecoderLayer";
  for (const auto& [name, suffix] : kClasses) {
    if (module.name == name) return fmt::format("{}{}", prefix, suffix);
  }
  return "Module";
}

std::string module_text(const Module& module, const std::string& prefix, std::size_t indent);

/// The lines of the children; neighbours with numbers and the same text become one.
std::string children_text(const Module& module, const std::string& prefix, std::size_t indent) {
  std::vector<std::string> texts;
  for (const Module& child : module.children) {
    texts.push_back(module_text(child, prefix, indent));
  }
  std::string out;
  for (std::size_t i = 0; i < texts.size();) {
    const Module& child = module.children[i];
    std::size_t end = i + 1;
    while (end < texts.size() && child.is_numbered() && texts[end] == texts[i]) ++end;
    const std::string label = end - i == 1 ? fmt::format("({}): ", child.name)
                                           : fmt::format("({}-{}): {} x ", child.name,
                                                         module.children[end - 1].name, end - i);
    out += fmt::format("{:{}}{}{}\n", "", indent, label, texts[i]);
    i = end;
  }
  return out;
}

/// "LlamaMLP(" and its children's lines, `indent` being where its own line begins.
std::string module_text(const Module& module, const std::string& prefix, std::size_t indent) {
  if (module.children.empty()) return module.leaf;
  return fmt::format("{}(\n{}{:{}})", class_name(module, prefix),
                     children_text(module, prefix, indent + 2), "", indent);
}

std::string linear_text(const Checkpoint& checkpoint, const LinearSpec& linear) {
  const std::string sizes = fmt::format("in_features={}, out_features={}, bias={}", linear.in,
                                        linear.out, linear.bias ? "True" : "False");
  if (const auto packed = checkpoint.packed_weight(linear)) {
    const int group_size = packed->layout.group_size;
    return fmt::format("Linear({}, bits={}{})", sizes, codec_of(packed->layout.format).bits,
                       group_size > 0 ? fmt::format(", group_size={}", group_size) : "");
  }
  if (const auto foreign = checkpoint.foreign_weight(linear)) {
    const int group_size = foreign->group_size;
    return fmt::format("Linear({}, bits={}{}, format={})", sizes, foreign->matrix.bits,
                       group_size > 0 ? fmt::format(", group_size={}", group_size) : "",
                       foreign->format.substr(0, foreign->format.find(' ')));
  }
  const CheckpointTensor weight = checkpoint.dense_weight(linear);
  const DTypeLayout layout = dtype_layout(weight.view.dtype);
  const double bits = 8.0 * static_cast<double>(layout.bytes) / static_cast<double>(layout.block);
  const std::string group =
      layout.block == 1 ? std::string() : fmt::format(", group_size={}", layout.block);
  const bool tied = weight.name != linear.name + ".weight";
  return fmt::format("Linear({}, bits={:g}{}, dtype={}{})", sizes, bits, group,
                     dtype_name(weight.view.dtype), tied ? ", tied to the embedding" : "");
}

std::string norm_text(const ModelSpec& spec, const std::string& prefix, const NormModule& norm) {
  if (spec.norm.kind == NormKind::kRms) {
    return fmt::format("{}RMSNorm(({},), eps={:g})", prefix, norm.size, spec.norm.eps);
  }
  return fmt::format("LayerNorm(({},), eps={:g}, elementwise_affine={})", norm.size, spec.norm.eps,
                     spec.norm.has_weight ? "True" : "False");
}

}  // namespace

std::string module_tree(const Checkpoint& checkpoint) {
  const ModelSpec& spec = checkpoint.spec();
  const std::string prefix = spec.architecture.substr(0, spec.architecture.find("ForCausalLM"));
  Module root;
  const auto insert_linear = [&](const LinearSpec& linear) {
    insert(root, linear.name, linear_text(checkpoint, linear));
  };
  const auto insert_norm = [&](const NormModule& norm) {
    insert(root, norm.name, norm_text(spec, prefix, norm));
  };
  insert(root, spec.embedding, fmt::format("Embedding({}, {})", spec.vocab, spec.embedding_width));
  if (spec.positions) {
    insert(root, spec.positions->name,
           fmt::format("{}LearnedPositionalEmbedding({}, {})", prefix, spec.positions->rows,
                       spec.hidden));
  }
  if (spec.project_in) insert_linear(*spec.project_in);
  for (std::int64_t layer = 0; layer < spec.n_layers; ++layer) {
    for (const LinearSpec& linear : spec.block_linears(layer)) insert_linear(linear);
    for (const NormModule& norm : spec.block_norms(layer)) insert_norm(norm);
  }
  if (!spec.final_norm.empty()) insert_norm({spec.final_norm, spec.hidden});
  if (spec.project_out) insert_linear(*spec.project_out);
  insert_linear(spec.head);
  return fmt::format("{}(\n{})", spec.architecture, children_text(root, prefix, 2));
}

}  // namespace nibble
