#include "nibble/models/foreign/module_parts.h"

#include <algorithm>
#include <cstring>
#include <span>

namespace nibble::foreign {

std::optional<TensorView> ModuleParts::find(const char* suffix) const {
  const auto found = source_.find(linear_.name + suffix);
  if (!found) return std::nullopt;
  return found->view;
}

TensorView ModuleParts::part(const char* suffix, std::initializer_list<DType> dtypes) {
  const std::string name = linear_.name + suffix;
  const auto found = source_.find(name);
  if (!found) fail("{}: tensor \"{}\" is missing", origin_, name);
  const DType dtype = found->view.dtype;
  if (std::find(dtypes.begin(), dtypes.end(), dtype) == dtypes.end()) {
    std::string list;
    for (const DType one : dtypes) {
      list += (list.empty() ? "" : " or ") + std::string(dtype_name(one));
    }
    fail("{}: tensor \"{}\" has dtype {}, expected {}", origin_, name, dtype_name(dtype), list);
  }
  names_.push_back(found->name);
  return found->view;
}

TensorView ModuleParts::matrix(const char* suffix, std::initializer_list<DType> dtypes) {
  TensorView view = part(suffix, dtypes);
  if (view.shape.size() != 2) {
    fail("{}: tensor \"{}{}\" has shape {}, expected two dimensions", origin_, linear_.name, suffix,
         shape_to_string(view.shape));
  }
  return view;
}

TensorView ModuleParts::shaped(const char* suffix, std::initializer_list<DType> dtypes,
                               const std::vector<std::int64_t>& shape) {
  TensorView view = part(suffix, dtypes);
  if (view.shape != shape) refuse_shape(suffix, view, shape);
  return view;
}

void ModuleParts::refuse_zeros(const char* suffix) const {
  const auto zeros = find(suffix);
  if (!zeros) return;
  const std::span<const std::byte> bytes(zeros->data, zeros->bytes);
  if (std::any_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte != std::byte{}; })) {
    refuse("\"{}\" holds numbers other than 0, expected none where \"symmetric\" is true",
           suffix + 1);
  }
}

std::vector<std::int32_t> ModuleParts::group_of(std::int64_t group_size) const {
  std::vector<std::int32_t> out(static_cast<std::size_t>(linear_.in));
  if (group_size == 0) return out;
  for (std::size_t c = 0; c < out.size(); ++c) {
    out[c] = static_cast<std::int32_t>(static_cast<std::int64_t>(c) / group_size);
  }
  return out;
}

std::vector<std::int32_t> ModuleParts::group_of(const char* suffix, std::int64_t group_size,
                                                std::int64_t groups) {
  if (!find(suffix)) return group_of(group_size);
  std::vector<std::int32_t> out(static_cast<std::size_t>(linear_.in));
  const TensorView index = shaped(suffix, {DType::kI32}, {linear_.in});
  std::memcpy(out.data(), index.data, out.size() * sizeof(std::int32_t));
  if (std::all_of(out.begin(), out.end(), [](std::int32_t group) { return group == -1; })) {
    return group_of(group_size);
  }
  for (const std::int32_t group : out) {
    if (group < 0 || group >= groups) {
      refuse("\"{}\" names group {}, there are {}", suffix + 1, group, groups);
    }
  }
  return out;
}

void ModuleParts::refuse_shape(const char* suffix, const TensorView& view,
                               const std::vector<std::int64_t>& expected) const {
  fail("{}: tensor \"{}{}\" has shape {}, expected {}", origin_, linear_.name, suffix,
       shape_to_string(view.shape), shape_to_string(expected));
}

std::int64_t count_groups(std::int64_t cols, std::int64_t group_size) {
  return group_size == 0 ? 1 : (cols + group_size - 1) / group_size;
}

}  // namespace nibble::foreign
