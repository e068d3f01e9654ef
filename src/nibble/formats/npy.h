// NumPy's .npy files: float32 matrices written row by row, arrays read for comparisons. The format:
// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "nibble/core/mapped_file.h"
#include "nibble/core/output.h"
#include "nibble/core/tensor_view.h"

namespace nibble {

/// Writes a float32 array of shape (rows, cols), version 1.0, C order.
class NpyWriter {
 public:
  /// Takes the disk space of the whole file at once. Throws Error if it cannot be written.
  NpyWriter(const std::filesystem::path& path, std::int64_t rows, std::int64_t cols);

  /// One or more whole rows, the next in order. Throws Error if they are not whole or too many.
  void write(std::span<const float> rows);
  /// Throws Error if rows are missing; else the file appears under its name.
  void commit();

 private:
  std::string origin_;
  std::int64_t cols_;
  std::int64_t remaining_;  // elements still to be written
  OutputFile output_;
};

/// A mapped .npy file (versions 1.0 to 3.0), C order, of float32, int32, uint8 or int8.
class NpyFile {
 public:
  /// Throws Error naming the file on anything else, and where shape and size do not agree.
  explicit NpyFile(const std::filesystem::path& path);

  const TensorView& view() const { return view_; }
  const std::vector<std::int64_t>& shape() const { return view_.shape; }

  // Copies of the elements, in C order. Throw Error if the file's type is another.
  std::vector<float> floats() const;        // float32
  std::vector<std::int32_t> ints() const;   // int32
  std::vector<std::uint8_t> bytes() const;  // uint8

 private:
  [[noreturn]] void wrong_type(const char* expected) const;

  MappedFile file_;
  TensorView view_;
};

}  // namespace nibble
