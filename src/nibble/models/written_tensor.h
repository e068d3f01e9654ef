// What became of the parameters that a checkpoint was written from, for reports.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "nibble/weights/rounding_error.h"

namespace nibble {

/// A parameter as it was written.
struct WrittenTensor {
  std::string name;
  std::vector<std::int64_t> shape;  // (out, in) of a linear layer, packed or not
  std::string format;               // "w4", "BF16", "Q4_1", "AWQ w4 g128"
  int bits = 0;                     // of a packed layer
  int group_size = 0;               // "
  RoundingError error;
};

/// As a note for TensorFileWriter::record().
std::string note_of(std::span<const WrittenTensor> tensors);

/// The tensors of all `notes`, in order. Throws Error, opening with `origin`, for one that
/// note_of() did not make.
std::vector<WrittenTensor> tensors_of(std::span<const std::string> notes,
                                      const std::string& origin);

}  // namespace nibble
