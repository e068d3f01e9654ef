// Reads safetensors: single files and folders of shards, mapped, with nothing trusted before it is
// checked. The format: https://huggingface.co/docs/safetensors (8 bytes little-endian length, a
// JSON header, the tensors' bytes without gaps).
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "nibble/core/mapped_file.h"
#include "nibble/core/tensor_view.h"
#include "nibble/formats/tensor_table.h"

namespace nibble {

/// One mapped safetensors file. What find() returns stays valid as long as this (moved or not).
class SafetensorsFile {
 public:
  /// Maps the file and checks its header against its size. Throws Error naming file and tensor:
  /// a cut file, wrong lengths or offsets, gaps, overlaps, duplicate names, unknown dtypes.
  explicit SafetensorsFile(const std::filesystem::path& path);

  const MappedFile& file() const { return file_; }
  /// The header's "__metadata__", empty if there is none.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  /// All tensors, in the order in which they lie in the file, those of unsupported types too.
  const std::vector<TensorEntry>& entries() const { return tensors_.entries(); }
  std::vector<std::string> names() const;
  bool contains(std::string_view name) const { return tensors_.contains(name); }
  /// The tensor `name`, or null. Throws Error if it has a type that Nibble cannot use (F8_E4M3,
  /// U16 ...).
  const TensorView* find(std::string_view name) const { return tensors_.find(name); }
  /// As find(), but a missing tensor is an Error too.
  const TensorView& get(std::string_view name) const { return tensors_.get(name); }

 private:
  MappedFile file_;
  std::map<std::string, std::string> metadata_;
  TensorTable tensors_;
};

/// The tensors of a model folder: model.safetensors, or the shards that
/// model.safetensors.index.json lists (tensors that the index leaves out are left out here too).
class SafetensorsModel {
 public:
  /// Throws Error if the folder holds neither, if a shard is missing, lies outside the folder or
  /// lacks a tensor that the index places there, and for everything SafetensorsFile refuses.
  explicit SafetensorsModel(const std::filesystem::path& folder);

  const std::vector<SafetensorsFile>& files() const { return files_; }
  /// Shard by shard (in the order of their file names), within each in the order of the bytes.
  const std::vector<std::string>& names() const { return names_; }
  bool contains(std::string_view name) const { return file_of_.contains(std::string(name)); }
  /// The tensor `name`, or null. Throws Error if it has a type that Nibble cannot use.
  const TensorView* find(std::string_view name) const;
  /// As find(), but a missing tensor is an Error too.
  const TensorView& get(std::string_view name) const;
  /// Gives back the memory of `part`, bytes of a tensor found here (see MappedFile::drop).
  void drop(std::span<const std::byte> part) const;

 private:
  void open_single(const std::filesystem::path& path);
  void open_shards(const std::filesystem::path& index_path);

  std::filesystem::path folder_;
  std::vector<SafetensorsFile> files_;
  std::vector<std::string> names_;
  std::unordered_map<std::string, std::size_t> file_of_;  // tensor name -> place in files_
};

}  // namespace nibble
