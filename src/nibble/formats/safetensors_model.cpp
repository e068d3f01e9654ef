#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "nibble/core/error.h"
#include "nibble/core/json.h"
#include "nibble/formats/safetensors.h"

namespace nibble {
namespace fs = std::filesystem;
namespace {

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

/// A shard lies beside its index: an index from elsewhere must not make Nibble open other files.
bool is_plain_file_name(std::string_view name) {
  constexpr std::string_view kRefused("/\\\0", 3);
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(kRefused) == std::string_view::npos;
}

/// Shard -> the tensors that the index places in it.
std::map<std::string, std::vector<std::string>> read_index(const fs::path& path) {
  const Json json = read_json_file(path);
  const JsonObject weight_map = JsonObject(json, path.string()).get_object("weight_map");
  std::map<std::string, std::vector<std::string>> shards;
  for (const auto& [tensor, shard] : weight_map.json().items()) {
    if (!shard.is_string() || !is_plain_file_name(shard.get_ref<const std::string&>())) {
      fail(
          "{}: the file of tensor {} must be a name without folders, found {}", path.string(),
          quoted_name(tensor),
          quoted_name(shard.is_string() ? shard.get_ref<const std::string&>() : shard.type_name()));
    }
    shards[shard.get<std::string>()].push_back(tensor);
  }
  return shards;
}

[[noreturn]] void fail_nothing_found(const fs::path& folder) {
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored)) fail("{}: no such folder", folder.string());
  for (const char* name : {"pytorch_model.bin", "pytorch_model.bin.index.json"}) {
    if (is_there(folder / name)) {
      fail("{}: holds its weights as {}, which is not supported yet; expected {} or {}",
           folder.string(), name, kSingle, kIndex);
    }
  }
  fail("{}: no weights found; looked for {} and {}", folder.string(), kSingle, kIndex);
}

}  // namespace

SafetensorsModel::SafetensorsModel(const fs::path& folder) : folder_(folder) {
  if (is_there(folder / kSingle)) {
    open_single(folder / kSingle);
  } else if (is_there(folder / kIndex)) {
    open_shards(folder / kIndex);
  } else {
    fail_nothing_found(folder);
  }
}

void SafetensorsModel::open_single(const fs::path& path) {
  files_.emplace_back(path);
  names_ = files_.front().names();
  for (const std::string& name : names_) file_of_.emplace(name, 0);
}

void SafetensorsModel::open_shards(const fs::path& index_path) {
  for (const auto& [shard, tensors] : read_index(index_path)) {
    if (!is_there(folder_ / shard)) {
      fail("{}: the shard {} is missing from the folder", index_path.string(), quoted_name(shard));
    }
    const SafetensorsFile& file = files_.emplace_back(folder_ / shard);
    for (const std::string& tensor : tensors) {
      if (!file.contains(tensor)) {
        fail("{}: tensor {} is not in {}, where the index places it", index_path.string(),
             quoted_name(tensor), quoted_name(shard));
      }
      file_of_.emplace(tensor, files_.size() - 1);
    }
    for (const TensorEntry& entry : file.entries()) {
      const auto it = file_of_.find(entry.name);
      if (it != file_of_.end() && it->second == files_.size() - 1) names_.push_back(entry.name);
    }
  }
}

const TensorView* SafetensorsModel::find(std::string_view name) const {
  const auto it = file_of_.find(std::string(name));
  return it == file_of_.end() ? nullptr : files_[it->second].find(name);
}

const TensorView& SafetensorsModel::get(std::string_view name) const {
  const TensorView* view = find(name);
  if (view == nullptr) fail("{}: has no tensor {}", folder_.string(), quoted_name(name));
  return *view;
}

void SafetensorsModel::drop(std::span<const std::byte> part) const {
  for (const SafetensorsFile& shard : files_) {
    const auto bytes = shard.file().bytes();
    const std::less_equal<> not_after;
    if (not_after(bytes.data(), part.data()) &&
        not_after(part.data() + part.size(), bytes.data() + bytes.size())) {
      shard.file().drop(part);
      return;
    }
  }
}

}  // namespace nibble
