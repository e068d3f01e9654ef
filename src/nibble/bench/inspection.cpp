#include "nibble/bench/inspection.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "nibble/core/error.h"
#include "nibble/quant/model_folder.h"

namespace nibble {
namespace {

bool is_tied_head(const ModelSpec& spec, const LinearSpec& linear) {
  return spec.tied_head && linear.name == spec.head.name;
}

/// Collects the tensors of a model and notes which of the file's they are.
class TensorList {
 public:
  explicit TensorList(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {
    const ModelSpec& spec = checkpoint.spec();
    for (const ParameterSpec& table : spec.embeddings()) add_dense(table.name, table.shape);
    if (spec.project_in) add_linear(*spec.project_in);
    for (std::int64_t layer = 0; layer < spec.n_layers; ++layer) {
      for (const LinearSpec& linear : spec.block_linears(layer)) add_linear(linear);
      for (const NormModule& norm : spec.block_norms(layer)) add_norm(norm);
    }
    if (!spec.final_norm.empty()) add_norm({spec.final_norm, spec.hidden});
    if (spec.project_out) add_linear(*spec.project_out);
    add_linear(spec.head);
  }

  std::vector<TensorInfo> take() { return std::move(tensors_); }

  std::vector<std::string> unused() const {
    std::vector<std::string> names;
    for (const std::string& name : checkpoint_.tensors().names()) {
      if (!used_.contains(name)) names.push_back(name);
    }
    return names;
  }

 private:
  void add_dense(const std::string& name, const std::vector<std::int64_t>& shape) {
    const CheckpointTensor tensor = checkpoint_.tensor(name, shape);
    used_.insert(tensor.name);
    tensors_.push_back({.name = name,
                        .shape = shape,
                        .format = std::string(dtype_name(tensor.view.dtype)),
                        .bytes = static_cast<std::int64_t>(tensor.view.bytes)});
  }

  void add_norm(const NormModule& norm) {
    for (const ParameterSpec& parameter : checkpoint_.spec().norm_parameters(norm)) {
      add_dense(parameter.name, parameter.shape);
    }
  }

  void add_packed(const LinearSpec& linear, const PackedTensors& packed) {
    for (const CheckpointTensor& part : packed.parts) used_.insert(part.name);
    tensors_.push_back({.name = linear.name + ".weight",
                        .shape = {linear.out, linear.in},
                        .format = codec_of(packed.layout.format).name,
                        .group_size = packed.layout.group_size,
                        .bytes = weight_bytes(packed.layout)});
  }

  void add_linear(const LinearSpec& linear) {
    if (const auto packed = checkpoint_.packed_weight(linear)) {
      add_packed(linear, *packed);
    } else if (const auto foreign = checkpoint_.foreign_weight(linear)) {
      used_.insert(foreign->tensors.begin(), foreign->tensors.end());
      tensors_.push_back({.name = linear.name + ".weight",
                          .shape = {linear.out, linear.in},
                          .format = foreign->format,
                          .group_size = foreign->group_size,
                          .bytes = foreign->matrix.file_bytes()});
    } else if (is_tied_head(checkpoint_.spec(), linear)) {
      used_.insert(linear.name + ".weight");  // some files hold the embedding twice
    } else {
      add_dense(linear.name + ".weight", {linear.out, linear.in});
    }
    if (linear.bias) add_dense(linear.name + ".bias", {linear.out});
  }

  const Checkpoint& checkpoint_;
  std::vector<TensorInfo> tensors_;
  std::set<std::string> used_;
};

TokenCost token_cost(const Checkpoint& checkpoint, DType dtype) {
  const ModelSpec& spec = checkpoint.spec();
  TokenCost cost;
  for (const LinearSpec& linear : spec.linears()) {
    const double weights = static_cast<double>(linear.out) * static_cast<double>(linear.in);
    const auto layout = checkpoint.layout_of(linear);
    cost.weights += weights;
    cost.bytes += layout ? static_cast<double>(weight_bytes(*layout))
                         : weights * static_cast<double>(dtype_layout(dtype).bytes);
  }
  cost.operations = 2 * cost.weights;
  // q k and p v: 2 head_dim operations each, for every head of every layer.
  cost.attention_operations =
      4.0 * static_cast<double>(spec.n_layers) * static_cast<double>(spec.n_heads * spec.head_dim);
  cost.kv_bytes_per_position = 2 * spec.n_layers * spec.n_kv_heads * spec.head_dim * 2;
  return cost;
}

/// The place of the block's number in "model.layers.12.mlp...": its first digit and its length,
/// which is 0 where there is none.
std::pair<std::size_t, std::size_t> block_number(const std::string& name) {
  for (std::size_t dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1)) {
    const std::size_t end = name.find('.', dot + 1);
    if (end == std::string::npos) break;
    const auto is_digit = [](unsigned char c) { return std::isdigit(c) != 0; };
    const auto first = name.begin() + static_cast<std::ptrdiff_t>(dot) + 1;
    const auto last = name.begin() + static_cast<std::ptrdiff_t>(end);
    if (first != last && std::all_of(first, last, is_digit)) return {dot + 1, end - dot - 1};
  }
  return {0, 0};
}

std::string range_text(const std::vector<std::string>& numbers) {
  // Blocks come in order, so that a run of neighbours is first-last.
  std::string text;
  for (std::size_t i = 0; i < numbers.size();) {
    std::size_t end = i + 1;
    while (end < numbers.size() && std::stoll(numbers[end]) == std::stoll(numbers[end - 1]) + 1) {
      ++end;
    }
    text += text.empty() ? "" : ",";
    text += end - i == 1 ? numbers[i] : numbers[i] + "-" + numbers[end - 1];
    i = end;
  }
  return text;
}

}  // namespace

std::int64_t TensorInfo::parameters() const {
  std::int64_t count = 1;
  for (const std::int64_t size : shape) count *= size;
  return count;
}

double TensorInfo::bits_per_weight() const {
  return 8.0 * static_cast<double>(bytes) / static_cast<double>(parameters());
}

Inspection inspect(const Checkpoint& checkpoint, DType dtype) {
  TensorList list(checkpoint);
  Inspection result;
  result.unused = list.unused();
  result.tensors = list.take();
  result.parameters = parameter_count(checkpoint.spec());
  for (const TensorInfo& tensor : result.tensors) result.bytes += tensor.bytes;
  result.token = token_cost(checkpoint, dtype);
  return result;
}

std::vector<TensorGroup> group_tensors(const std::vector<TensorInfo>& tensors) {
  using Key = std::tuple<std::string, std::string, int>;  // name without number, format, group size
  std::map<Key, std::size_t> places;
  std::vector<TensorGroup> groups;
  std::vector<std::vector<std::string>> numbers;
  for (const TensorInfo& tensor : tensors) {
    const auto [at, length] = block_number(tensor.name);
    const std::string pattern =
        std::string(tensor.name).replace(at, length, length == 0 ? "" : "#");
    const auto [place, is_new] =
        places.try_emplace(Key{pattern, tensor.format, tensor.group_size}, groups.size());
    if (is_new) {
      groups.push_back({.first = tensor, .name = tensor.name});
      numbers.emplace_back();
    }
    ++groups[place->second].count;
    if (length > 0) numbers[place->second].push_back(tensor.name.substr(at, length));
  }
  for (std::size_t i = 0; i < groups.size(); ++i) {
    if (groups[i].count == 1) continue;
    const auto [at, length] = block_number(groups[i].name);
    groups[i].name.replace(at, length, "{" + range_text(numbers[i]) + "}");
  }
  return groups;
}

}  // namespace nibble
