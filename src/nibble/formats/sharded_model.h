// The tensors of a model folder in files of one kind: a single file, or the shards that an index
// lists (tensors that the index leaves out are left out here too).
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "nibble/core/mapped_file.h"
#include "nibble/core/tensor_view.h"

namespace nibble {

/// Whether the folder has model files of this kind. `File` is SafetensorsFile or TorchBinFile; its
/// kSingle and kIndex are the files' names.
template <typename File>
bool has_model_files(const std::filesystem::path& folder);

template <typename File>
class ShardedModel {
 public:
  /// Throws Error if the folder holds neither file, if a shard is missing, lies outside the folder
  /// or lacks a tensor that the index places there, and for everything File refuses.
  explicit ShardedModel(const std::filesystem::path& folder);

  const std::vector<File>& files() const { return files_; }
  /// Shard by shard (in the order of their file names), within each in the order of the bytes.
  const std::vector<std::string>& names() const { return names_; }
  bool contains(std::string_view name) const { return file_of_.contains(std::string(name)); }
  /// The tensor `name`, or null. Throws Error if it has a type that Nibble cannot use.
  const TensorView* find(std::string_view name) const;
  /// As find(), but a missing tensor is an Error too.
  const TensorView& get(std::string_view name) const;
  /// The file that `part` lies in; null if it is in none of these.
  const MappedFile* file_of(std::span<const std::byte> part) const;

 private:
  void open_single(const std::filesystem::path& path);
  void open_shards(const std::filesystem::path& index_path);

  std::filesystem::path folder_;
  std::vector<File> files_;
  std::vector<std::string> names_;
  std::unordered_map<std::string, std::size_t> file_of_;  // tensor name -> place in files_
};

}  // namespace nibble
