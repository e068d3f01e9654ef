// Copies of GGUF files with other metadata or more tensors.
#pragma once

#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "nibble/core/error.h"
#include "nibble/formats/gguf_writer.h"

namespace nibble::testing {

struct GgufEdit {
  std::set<std::string> drop;              // keys, those that `set` writes anew among them
  std::function<void(GgufMetadata&)> set;  // more keys
  std::vector<std::string> tensors;        // more tensors, of one float each
};

/// Copies one pair of the metadata, whatever its type.
inline void copy_pair(const GgufFile& file, std::string_view key, GgufMetadata& to) {
  const auto takes = [](auto copy) {
    try {
      copy();
      return true;
    } catch (const Error&) {
      return false;
    }
  };
  const auto strings = [&] {
    const auto views = file.get_strings(key);
    to.set_strings(key, std::vector<std::string>(views.begin(), views.end()));
  };
  const auto ints = [&] {
    const auto values = file.get_ints(key);
    to.set_ints(key, std::vector<std::int32_t>(values.begin(), values.end()));
  };
  if (file.is_array(key)) {
    takes(strings) || takes(ints) || takes([&] { to.set_floats(key, file.get_floats(key)); });
    return;
  }
  takes([&] { to.set(key, file.get_string(key)); }) ||
      takes([&] { to.set_bool(key, *file.find_bool(key)); }) ||
      takes([&] { to.set_uint(key, static_cast<std::uint32_t>(*file.find_int(key))); }) ||
      takes([&] { to.set_float(key, static_cast<float>(file.get_number(key))); });
}

inline void edit_gguf(const std::filesystem::path& from, const std::filesystem::path& to,
                      const GgufEdit& edit) {
  const GgufFile file(from);
  GgufMetadata metadata;
  for (const std::string_view key : file.keys()) {
    if (!edit.drop.contains(std::string(key))) copy_pair(file, key, metadata);
  }
  if (edit.set) edit.set(metadata);
  std::vector<TensorDeclaration> declarations;
  for (const TensorEntry& entry : file.entries()) {
    declarations.push_back({entry.name, entry.view.dtype, entry.view.shape});
  }
  for (const std::string& name : edit.tensors) declarations.push_back({name, DType::kF32, {1}});
  GgufWriter writer(to, metadata, declarations);
  for (const TensorEntry& entry : file.entries()) {
    writer.append(entry.name, {entry.view.data, entry.view.bytes});
  }
  const float one = 1;
  for (const std::string& name : edit.tensors) {
    writer.append(name, std::as_bytes(std::span(&one, 1)));
  }
  writer.commit();
}

}  // namespace nibble::testing
