// Reads safetensors: single files and folders of shards, mapped, with nothing trusted before it is
// checked. The format: https://huggingface.co/docs/safetensors (8 bytes little-endian length, a
// JSON header, the tensors' bytes without gaps).
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "nibble/core/mapped_file.h"
#include "nibble/core/tensor_view.h"
#include "nibble/formats/sharded_model.h"
#include "nibble/formats/tensor_table.h"

namespace nibble {

/// One mapped safetensors file. What find() returns stays valid as long as this (moved or not).
class SafetensorsFile {
 public:
  static constexpr const char* kSingle = "model.safetensors";
  static constexpr const char* kIndex = "model.safetensors.index.json";

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

/// model.safetensors, or the shards of model.safetensors.index.json.
using SafetensorsModel = ShardedModel<SafetensorsFile>;

}  // namespace nibble
