// Writes a checkpoint, a folder or a GGUF file: whole or not at all, tensors in any order and from
// wherever they come, and going on where a killed process stopped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "nibble/core/function_ref.h"
#include "nibble/core/output.h"
#include "nibble/core/thread_pool.h"
#include "nibble/formats/gguf_writer.h"
#include "nibble/models/written_tensor.h"

namespace nibble {

struct CheckpointDestination {
  std::filesystem::path path;
  bool replace = false;                        // it may exist
  std::vector<std::filesystem::path> sources;  // files and folders that are read
  /// Of the identity only what the options say: contents and sources are added.
  Resumption resumption = {};
};

/// A Hugging Face folder.
struct FolderContents {
  std::string config;                      // the text of config.json
  std::vector<TensorDeclaration> tensors;  // of model.safetensors
  std::map<std::string, std::string> metadata = {{"format", "pt"}};
};

struct GgufContents {
  GgufMetadata metadata;
  std::vector<TensorDeclaration> tensors;
};

/// A tensor that is made piece by piece, on any thread and in any order.
struct TensorPieces {
  std::size_t piece_bytes;  // the last may have fewer
  FunctionRef<void(std::int64_t piece, std::span<std::byte> out)> make;
  /// Called on the calling thread when the pieces of a batch have been made, before they are
  /// written; may be empty.
  std::function<void(std::int64_t first, std::int64_t count)> made = {};
};

class CheckpointWriter {
 public:
  /// Takes the disk space of all tensors and writes config.json. Throws Error if the path exists
  /// and may not be replaced, if that would replace a source, if it is being written already, if
  /// the disk is full, or if what was left of it is of another model or other options.
  CheckpointWriter(const CheckpointDestination& to, const FolderContents& contents);
  /// The same of a GGUF file.
  CheckpointWriter(const CheckpointDestination& to, const GgufContents& contents);
  ~CheckpointWriter();

  /// Where all appears in the end.
  const std::filesystem::path& path() const { return to_.path; }
  /// Where other files of the folder go until commit().
  const std::filesystem::path& folder() const { return folder_->temporary(); }
  /// Writes such a file.
  void write_file(const std::string& name, std::string_view text);
  /// The file with the tensors.
  TensorFileWriter& tensors() { return *file_; }
  /// Writes a whole tensor, some MiB at a time. Throws Interrupted.
  void write(const std::string& name, ThreadPool& pool, const TensorPieces& pieces);

  /// Throws Error if a tensor is missing or incomplete; else all appears in its place.
  void commit();

 private:
  CheckpointDestination to_;
  std::optional<OutputFolder> folder_;
  std::unique_ptr<TensorFileWriter> file_;
};

}  // namespace nibble
