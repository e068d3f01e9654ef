// The module tree, rebuilt from the names of the modules that hold parameters.
#include <algorithm>
#include <string_view>
#include <utility>

#include "nibble/core/error.h"
#include "nibble/models/inspection.h"

namespace nibble {
namespace {

struct TreeNode {
  std::string name;  // within its parent: "self_attn", "0"
  std::string leaf;  // "Linear(...)" of one without children
  std::vector<TreeNode> children;

  bool is_numbered() const {
    return !name.empty() && name.find_first_not_of("0123456789") == std::string::npos;
  }
};

/// Puts `leaf` at "model.layers.0.mlp.up_proj", making what lies between.
void insert(TreeNode& root, std::string_view path, std::string leaf) {
  TreeNode* at = &root;
  while (!path.empty()) {
    const std::size_t dot = std::min(path.find('.'), path.size());
    const std::string_view part = path.substr(0, dot);
    path.remove_prefix(std::min(dot + 1, path.size()));
    // The last child as a rule: modules come in order.
    const auto found = std::find_if(at->children.rbegin(), at->children.rend(),
                                    [&](const TreeNode& child) { return child.name == part; });
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
std::string class_name(const TreeNode& node, const std::string& prefix) {
  constexpr std::pair<std::string_view, std::string_view> kClasses[] = {
      {"model", "Model"}, {"decoder", "Decoder"}, {"self_attn", "Attention"}, {"mlp", "MLP"}};
  if (node.children.front().is_numbered()) return "ModuleList";
  if (node.is_numbered()) return prefix + "DecoderLayer";
  for (const auto& [name, suffix] : kClasses) {
    if (node.name == name) return fmt::format("{}{}", prefix, suffix);
  }
  return "Module";
}

std::string module_text(const TreeNode& node, const std::string& prefix, std::size_t indent);

/// The lines of the children; neighbours with numbers and the same text become one.
std::string children_text(const TreeNode& node, const std::string& prefix, std::size_t indent) {
  std::vector<std::string> texts;
  for (const TreeNode& child : node.children) {
    texts.push_back(module_text(child, prefix, indent));
  }
  std::string out;
  for (std::size_t i = 0; i < texts.size();) {
    const TreeNode& child = node.children[i];
    std::size_t end = i + 1;
    while (end < texts.size() && child.is_numbered() && texts[end] == texts[i]) ++end;
    const std::string label = end - i == 1 ? fmt::format("({}): ", child.name)
                                           : fmt::format("({}-{}): {} x ", child.name,
                                                         node.children[end - 1].name, end - i);
    out += fmt::format("{:{}}{}{}\n", "", indent, label, texts[i]);
    i = end;
  }
  return out;
}

/// "LlamaMLP(" and its children's lines, `indent` being where its own line begins.
std::string module_text(const TreeNode& node, const std::string& prefix, std::size_t indent) {
  if (node.children.empty()) return node.leaf;
  return fmt::format("{}(\n{}{:{}})", class_name(node, prefix),
                     children_text(node, prefix, indent + 2), "", indent);
}

/// ", bits=4, group_size=128"
std::string packed_text(const WeightLayout& layout) {
  return fmt::format(
      ", bits={}{}", codec_of(layout.format).bits,
      layout.group_size > 0 ? fmt::format(", group_size={}", layout.group_size) : "");
}

std::string linear_text(const Checkpoint& checkpoint, const LinearSpec& linear) {
  const std::string sizes = fmt::format("in_features={}, out_features={}, bias={}", linear.in,
                                        linear.out, linear.bias ? "True" : "False");
  const bool tied = checkpoint.spec().is_tied(linear) && !checkpoint.has_own_head();
  const char* const tie = tied ? ", tied to the embedding" : "";
  if (const auto packed = checkpoint.packed_weight(linear)) {
    return fmt::format("Linear({}{}{})", sizes, packed_text(packed->layout), tie);
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
  return fmt::format("Linear({}, bits={:g}{}, dtype={}{})", sizes, bits, group,
                     dtype_name(weight.view.dtype), tie);
}

std::string norm_text(const ModelSpec& spec, const std::string& prefix, const Module& norm) {
  if (spec.norm.kind == NormKind::kRms) {
    return fmt::format("{}RMSNorm(({},), eps={:g})", prefix, norm.shape[0], spec.norm.eps);
  }
  return fmt::format("LayerNorm(({},), eps={:g}, elementwise_affine={})", norm.shape[0],
                     spec.norm.eps, spec.norm.has_weight ? "True" : "False");
}

/// What stands behind the name of a module; `prefix` as above.
std::string leaf_text(const Checkpoint& checkpoint, const std::string& prefix,
                      const Module& module) {
  switch (module.kind) {
    case ModuleKind::kLinear:
      return linear_text(checkpoint, module.linear());
    case ModuleKind::kNorm:
      return norm_text(checkpoint.spec(), prefix, module);
    case ModuleKind::kTable:
      break;
  }
  if (module.role == ModuleRole::kPositions) {
    return fmt::format("{}LearnedPositionalEmbedding({}, {})", prefix, module.shape[0],
                       module.shape[1]);
  }
  const auto packed = checkpoint.packed_weight(module.linear());
  return fmt::format("Embedding({}, {}{})", module.shape[0], module.shape[1],
                     packed ? packed_text(packed->layout) : "");
}

}  // namespace

std::string module_tree(const Checkpoint& checkpoint) {
  const ModelSpec& spec = checkpoint.spec();
  const std::string prefix = spec.architecture.substr(0, spec.architecture.find("ForCausalLM"));
  TreeNode root;
  for (const Module& module : spec.modules()) {
    insert(root, module.name, leaf_text(checkpoint, prefix, module));
  }
  return fmt::format("{}(\n{})", spec.architecture, children_text(root, prefix, 2));
}

}  // namespace nibble
