// Writes a GGUF v3 file tensor by tensor, so that no tensor need be whole in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nibble/core/output.h"
#include "nibble/formats/gguf.h"
#include "nibble/formats/safetensors_writer.h"

namespace nibble {

/// The metadata of a file that is to be written, in the order in which it is set.
class GgufMetadata {
 public:
  void set(std::string_view key, std::string_view value);
  void set_uint(std::string_view key, std::uint32_t value);
  void set_float(std::string_view key, float value);
  void set_bool(std::string_view key, bool value);
  void set_strings(std::string_view key, std::span<const std::string> values);
  void set_floats(std::string_view key, std::span<const float> values);
  void set_ints(std::string_view key, std::span<const std::int32_t> values);

  std::uint64_t count() const { return count_; }
  /// The pairs as they stand in the file.
  const std::string& bytes() const { return bytes_; }

 private:
  void begin(std::string_view key, GgufType type);

  std::uint64_t count_ = 0;
  std::string bytes_;
};

/// Usage: construct; for each tensor in the order declared begin() and write() until it is full;
/// commit(). Without commit() no file appears.
class GgufWriter {
 public:
  /// Takes the disk space of the whole file at once and writes everything before the tensors'
  /// data. Shapes are outermost first. Throws Error if the disk is full, a name is used twice, or
  /// GGUF cannot hold a shape or dtype.
  GgufWriter(const std::filesystem::path& path, const GgufMetadata& metadata,
             std::vector<TensorDeclaration> tensors);

  /// Starts the next tensor; `name` must be the next one declared, and the one before it complete
  /// (else Error: a mistake of the caller that must never end in a wrong file).
  void begin(std::string_view name);
  /// More bytes of the tensor begun. Throws Error if they are more than it has.
  void write(std::span<const std::byte> bytes);
  /// The size of the whole file.
  std::uint64_t file_bytes() const { return file_bytes_; }
  /// Throws Error if a tensor is missing or incomplete; else the file appears under its name.
  void commit();

 private:
  void finish_tensor();

  std::filesystem::path path_;
  std::vector<TensorDeclaration> tensors_;
  std::uint64_t file_bytes_ = 0;
  std::size_t begun_ = 0;        // tensors begun; the last of them is being written
  std::uint64_t remaining_ = 0;  // bytes that the tensor being written still lacks
  OutputFile output_;
};

}  // namespace nibble
