// Writes a safetensors file tensor by tensor, so that no tensor need be whole in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nibble/core/dtype.h"
#include "nibble/core/output.h"

namespace nibble {

/// A tensor that will be written. Dtypes in blocks (Q8_0 ...) are GGUF's; safetensors refuses them.
struct TensorDeclaration {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;
};

/// Usage: construct; for each tensor in the order declared begin() and write() until it is full;
/// commit(). Without commit() no file appears. The data begins at a multiple of 64 bytes in the
/// file and has no gaps (the format forbids them): to keep every tensor aligned, declare those of
/// the widest dtype first or give them sizes that are multiples of 64.
class SafetensorsWriter {
 public:
  /// Takes the disk space of the whole file at once and writes the header. Throws Error if the
  /// disk is full, a name is used twice or is "__metadata__", or a shape or dtype is impossible.
  SafetensorsWriter(const std::filesystem::path& path, std::vector<TensorDeclaration> tensors,
                    const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

  /// Starts the next tensor; `name` must be the next one declared, and the one before it complete
  /// (else Error: a mistake of the caller that must never end in a wrong file).
  void begin(std::string_view name);
  /// More bytes of the tensor begun. Throws Error if they are more than it has.
  void write(std::span<const std::byte> bytes);
  /// begin() and all bytes at once.
  void write_tensor(std::string_view name, std::span<const std::byte> bytes);
  /// The size of the whole file.
  std::uint64_t file_bytes() const { return file_bytes_; }
  /// Throws Error if a tensor is missing or incomplete; else the file appears under its name.
  void commit();

 private:
  void check_complete() const;

  std::filesystem::path path_;
  std::vector<TensorDeclaration> tensors_;
  std::uint64_t file_bytes_ = 0;
  std::size_t begun_ = 0;        // tensors begun; the last of them is being written
  std::uint64_t remaining_ = 0;  // bytes that the tensor being written still lacks
  OutputFile output_;
};

}  // namespace nibble
