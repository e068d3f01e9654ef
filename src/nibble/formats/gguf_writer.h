// Writes GGUF v3 files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nibble/formats/gguf.h"
#include "nibble/formats/tensor_file.h"

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

class GgufWriter : public TensorFileWriter {
 public:
  /// Throws Error if a name is used twice, if GGUF cannot hold a shape or dtype, or if the disk is
  /// full.
  GgufWriter(const std::filesystem::path& path, const GgufMetadata& metadata,
             const std::vector<TensorDeclaration>& tensors, const Resumption& resumption = {});
};

}  // namespace nibble
