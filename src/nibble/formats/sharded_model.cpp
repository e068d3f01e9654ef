#include "nibble/formats/sharded_model.h"

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <system_error>

#include "nibble/core/error.h"
#include "nibble/core/json.h"
#include "nibble/core/mapped_file.h"
#include "nibble/formats/safetensors.h"
#include "nibble/formats/torch_bin.h"

namespace nibble {
namespace fs = std::filesystem;
namespace {

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

}  // namespace

template <typename File>
bool has_model_files(const fs::path& folder) {
  return file_exists(folder / File::kSingle) || file_exists(folder / File::kIndex);
}

template <typename File>
ShardedModel<File>::ShardedModel(const fs::path& folder) : folder_(folder) {
  std::error_code ignored;
  if (file_exists(folder / File::kSingle)) {
    open_single(folder / File::kSingle);
  } else if (file_exists(folder / File::kIndex)) {
    open_shards(folder / File::kIndex);
  } else if (!fs::is_directory(folder, ignored)) {
    fail("{}: no such folder", folder.string());
  } else {
    fail("{}: no weights found; looked for {} and {}", folder.string(), File::kSingle,
         File::kIndex);
  }
}

template <typename File>
void ShardedModel<File>::open_single(const fs::path& path) {
  files_.emplace_back(path);
  names_ = files_.front().names();
  for (const std::string& name : names_) file_of_.emplace(name, 0);
}

template <typename File>
void ShardedModel<File>::open_shards(const fs::path& index_path) {
  for (const auto& [shard, tensors] : read_index(index_path)) {
    if (!file_exists(folder_ / shard)) {
      fail("{}: the shard {} is missing from the folder", index_path.string(), quoted_name(shard));
    }
    const File& file = files_.emplace_back(folder_ / shard);
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

template <typename File>
const TensorView* ShardedModel<File>::find(std::string_view name) const {
  const auto it = file_of_.find(std::string(name));
  return it == file_of_.end() ? nullptr : files_[it->second].find(name);
}

template <typename File>
const TensorView& ShardedModel<File>::get(std::string_view name) const {
  const TensorView* view = find(name);
  if (view == nullptr) fail("{}: has no tensor {}", folder_.string(), quoted_name(name));
  return *view;
}

template <typename File>
const MappedFile* ShardedModel<File>::file_of(std::span<const std::byte> part) const {
  const auto shard = std::find_if(files_.begin(), files_.end(),
                                  [&](const File& each) { return each.file().contains(part); });
  return shard == files_.end() ? nullptr : &shard->file();
}

template bool has_model_files<SafetensorsFile>(const fs::path&);
template bool has_model_files<TorchBinFile>(const fs::path&);
template class ShardedModel<SafetensorsFile>;
template class ShardedModel<TorchBinFile>;

}  // namespace nibble
