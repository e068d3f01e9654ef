// A model in one GGUF file or, as llama.cpp's gguf-split cuts it, in several that are named
// NAME-00001-of-0000N.gguf and hold "split.no", "split.count" and "split.tensors.count". Metadata
// is that of the first part.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "nibble/formats/gguf.h"

namespace nibble {

/// The file that holds a model's metadata: of a split model the first part, which must lie beside
/// `path`; the others need not be there.
GgufFile open_gguf_metadata(const std::filesystem::path& path);

/// The GGUF models in a folder, known by what is in the files: the first part of a split one, and
/// not what lies beside a model for other ends (llama.cpp knows it by its name: "mmproj-...",
/// "imatrix..."). Sorted.
std::vector<std::filesystem::path> gguf_models(const std::filesystem::path& folder);

class GgufModel {
 public:
  /// Opens the file, and all other parts where it is one of several (any may be given). Throws
  /// Error for everything GgufFile refuses, for parts that are missing (naming them all), and for
  /// parts that do not belong together.
  explicit GgufModel(const std::filesystem::path& path);

  /// The first part, whose metadata is the model's.
  const GgufFile& metadata() const { return files_.front(); }
  const std::vector<GgufFile>& files() const { return files_; }
  /// Of all parts, part by part, in the order of the bytes.
  std::vector<std::string> names() const;
  bool contains(std::string_view name) const { return file_of_.contains(name); }
  /// The tensor `name`, or null. Throws Error if it has a type that Nibble cannot use.
  const TensorView* find(std::string_view name) const;
  /// As find(), but a missing tensor is an Error too.
  const TensorView& get(std::string_view name) const;
  /// The file that `part` lies in; null if it is in none of these.
  const MappedFile* file_of(std::span<const std::byte> part) const;

 private:
  std::vector<GgufFile> files_;
  std::unordered_map<std::string_view, std::size_t> file_of_;  // views of the files' names
};

}  // namespace nibble
