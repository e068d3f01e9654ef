#include "nibble/models/tensor_report.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <vector>

#include "nibble/core/error.h"
#include "nibble/core/log.h"
#include "nibble/formats/tensor_table.h"

namespace nibble {
namespace {

constexpr std::size_t kShown = 6;

/// What older programs wrote beside the weights and every reader leaves out: frequencies of RoPE,
/// which follow from the config, and OPT's version.
bool means_nothing(std::string_view name) {
  return name.ends_with("rotary_emb.inv_freq") || name.ends_with(".attn_rot_embd.weight") ||
         name == "rope_freqs.weight" || name.ends_with("decoder.version");
}

/// "model.layers.*.mlp.up_proj.bias" for the tensor of any layer.
std::string without_numbers(std::string_view name) {
  std::string out;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const bool digit = std::isdigit(static_cast<unsigned char>(name[i])) != 0;
    if (digit && (out.ends_with('.') || out.ends_with("*"))) {
      if (!out.ends_with('*')) out += '*';
    } else {
      out += name[i];
    }
  }
  return out;
}

/// At most kShown of them, quoted.
std::string listed(const std::vector<std::string>& names) {
  std::string out;
  for (std::size_t i = 0; i < std::min(names.size(), kShown); ++i) {
    out += (i == 0 ? "" : ", ") + quoted_name(names[i]);
  }
  return names.size() <= kShown ? out : fmt::format("{} and {} more", out, names.size() - kShown);
}

/// The ends of those names that begin with `prefix`.
std::vector<std::string> behind(const std::vector<std::string>& names, const std::string& prefix) {
  std::vector<std::string> ends;
  for (const std::string& name : names) {
    if (name.starts_with(prefix)) ends.push_back(name.substr(prefix.size()));
  }
  std::sort(ends.begin(), ends.end());
  return ends;
}

}  // namespace

void report_unread_tensors(const Checkpoint& checkpoint) {
  std::map<std::string, int> kinds;
  int count = 0;
  for (const std::string& name : checkpoint.tensors().unread()) {
    if (means_nothing(name)) continue;
    ++kinds[without_numbers(name)];
    ++count;
  }
  if (count == 0) return;
  std::vector<std::string> names;
  for (const auto& [kind, of_kind] : kinds) names.push_back(kind);
  const std::string path = checkpoint.path().string();
  const char* tensors = count == 1 ? "tensor" : "tensors";
  if (checkpoint.is_gguf()) {
    fail("{}: {} {} that {} does not have: {}", path, count, tensors,
         checkpoint.spec().architecture, listed(names));
  }
  warn("{}: {} {} that {}, as config.json describes it, does not have left out: {}", path, count,
       tensors, checkpoint.spec().architecture, listed(names));
}

std::string describe_missing(const TensorSource& source, const std::string& name) {
  const std::vector<std::string> names = source.names();
  const std::string module = name.substr(0, std::min(name.rfind('.'), name.size()));
  if (const auto parts = behind(names, module + "."); !parts.empty()) {
    return fmt::format("; the module has {}, a form that config.json does not explain",
                       listed(parts));
  }
  const std::size_t layers = name.find("layers.");
  const std::string tail = layers == std::string::npos ? name : name.substr(layers);
  const auto same = std::find_if(names.begin(), names.end(), [&](const std::string& other) {
    return other.ends_with("." + tail);
  });
  if (same != names.end()) return fmt::format("; there is {}", quoted_name(*same));
  const std::size_t dot = module.rfind('.');
  if (dot == std::string::npos) return "";
  const auto beside = behind(names, module.substr(0, dot + 1));
  if (beside.empty()) return "";
  return fmt::format("; {} has {}", module.substr(0, dot), listed(beside));
}

}  // namespace nibble
