#include "nibble/models/inspection.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "nibble/core/error.h"

namespace nibble {
namespace {

void add_integers(const Checkpoint& checkpoint, StoredParameter& stored) {
  const ModuleRole role = stored.module.role;
  const bool is_linear = stored.module.kind == ModuleKind::kLinear;
  if (stored.is_bias || !(is_linear || role == ModuleRole::kEmbedding)) return;
  const LinearSpec matrix = stored.module.linear();
  if (const auto packed = checkpoint.packed_weight(matrix)) {
    stored.format = codec_of(packed->layout.format).name;
    stored.group_size = packed->layout.group_size;
    stored.bytes = weight_bytes(packed->layout);
    for (const CheckpointTensor& part : packed->parts) stored.tensors.push_back(part.name);
  } else if (!is_linear) {
    return;
  } else if (auto foreign = checkpoint.foreign_weight(matrix)) {
    stored.format = std::move(foreign->format);
    stored.group_size = foreign->group_size;
    stored.bytes = foreign->matrix.file_bytes();
    stored.tensors = std::move(foreign->tensors);
  }
  stored.is_quantized = !stored.tensors.empty();
}

/// What another tool keeps in several tensors and is read row by row as floats.
void add_rows(const Checkpoint& checkpoint, StoredParameter& stored) {
  if (stored.is_bias || stored.shape.size() != 2) return;
  auto rows = checkpoint.foreign_rows({stored.module.name, stored.shape[0], stored.shape[1]});
  if (!rows) return;
  stored.format = std::move(rows->format);
  stored.bytes = rows->bytes;
  stored.tensors = std::move(rows->tensors);
}

void add_numbers(const Checkpoint& checkpoint, StoredParameter& stored) {
  const CheckpointTensor tensor = checkpoint.tensor(stored.name, stored.shape);
  stored.format = dtype_name(tensor.view.dtype);
  stored.bytes = static_cast<std::int64_t>(tensor.view.bytes);
  stored.tensors = {tensor.name};
}

std::vector<std::string> unused_tensors(const Checkpoint& checkpoint,
                                        const std::vector<StoredParameter>& parameters) {
  std::set<std::string> used;
  for (const StoredParameter& parameter : parameters) {
    used.insert(parameter.tensors.begin(), parameter.tensors.end());
  }
  const LinearSpec& head = checkpoint.spec().head;
  if (checkpoint.spec().is_tied(head)) used.insert(head.name + ".weight");  // held twice by some
  std::vector<std::string> names = checkpoint.tensors().names();
  std::erase_if(names, [&](const std::string& name) { return used.contains(name); });
  return names;
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

double StoredParameter::bits_per_weight() const {
  return 8.0 * static_cast<double>(bytes) / static_cast<double>(count());
}

std::vector<StoredParameter> stored_parameters(const Checkpoint& checkpoint) {
  std::vector<StoredParameter> all;
  for (Parameter& parameter : parameters_of(checkpoint.spec())) {
    StoredParameter stored{std::move(parameter)};
    if (stored.is_tied && !checkpoint.has_own_head()) continue;
    add_integers(checkpoint, stored);
    if (!stored.is_quantized) add_rows(checkpoint, stored);
    if (stored.tensors.empty()) add_numbers(checkpoint, stored);
    all.push_back(std::move(stored));
  }
  return all;
}

Inspection inspect(const Checkpoint& checkpoint, DType dtype) {
  Inspection result;
  result.tensors = stored_parameters(checkpoint);
  result.unused = unused_tensors(checkpoint, result.tensors);
  result.parameters = parameter_count(checkpoint.spec());
  for (const StoredParameter& tensor : result.tensors) result.bytes += tensor.bytes;
  result.token = token_cost(checkpoint, dtype);
  return result;
}

std::vector<TensorGroup> group_tensors(const std::vector<StoredParameter>& tensors) {
  using Key = std::tuple<std::string, std::string, int>;  // name without number, format, group size
  std::map<Key, std::size_t> places;
  std::vector<TensorGroup> groups;
  std::vector<std::vector<std::string>> numbers;
  for (const StoredParameter& tensor : tensors) {
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
