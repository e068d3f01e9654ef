// Writes safetensors files.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "nibble/formats/tensor_file.h"

namespace nibble {

/// The data begins at a multiple of 64 bytes in the file and has no gaps (the format forbids them):
/// to keep every tensor aligned, declare those of the widest dtype first or give them sizes that
/// are multiples of 64.
class SafetensorsWriter : public TensorFileWriter {
 public:
  /// Throws Error if a name is used twice or is "__metadata__", if a shape or dtype is impossible,
  /// or if the disk is full.
  SafetensorsWriter(const std::filesystem::path& path,
                    const std::vector<TensorDeclaration>& tensors,
                    const std::map<std::string, std::string>& metadata = {{"format", "pt"}},
                    const Resumption& resumption = {});
};

}  // namespace nibble
