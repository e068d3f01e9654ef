// Writes a file of tensors whose extents are known beforehand: some bytes at a time, so that none
// need be whole in memory, tensors in any order, and going on where a killed process stopped. How a
// file is laid out is its format's (safetensors_writer.h, gguf_writer.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "nibble/core/dtype.h"
#include "nibble/core/output.h"
#include "nibble/core/stopwatch.h"

namespace nibble {

/// A tensor that will be written; its shape is outermost first.
struct TensorDeclaration {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;
};

/// Where a tensor's bytes lie: from the first tensor's, in a layout from the file's.
struct TensorExtent {
  std::string name;
  std::uint64_t bytes;
  std::uint64_t offset = 0;
};

/// Sets the offsets of tensors that lie one behind the other, each at a multiple of `alignment`.
/// Throws Error, opening with `origin`, if two have the same name or they are too large for a file.
void lay_out_tensors(std::vector<TensorExtent>& tensors, std::uint64_t alignment,
                     const std::string& origin);

/// A whole file: its header, then the tensors. Bytes that no tensor takes are zeros.
struct TensorFileLayout {
  TensorFileLayout(std::string header, std::vector<TensorExtent> extents, std::uint64_t alignment);

  std::string header;
  std::vector<TensorExtent> tensors;
  std::uint64_t file_bytes;  // a multiple of the alignment behind the header
};

/// How output goes on after its process was killed.
struct Resumption {
  /// All that the bytes depend on besides the layout: only what was begun with the same is gone on
  /// with. Where this is empty, record() does nothing.
  std::string identity;
  /// Go on with what was left, if there is any; and leave what was recorded where an error or
  /// Ctrl-C ends this too.
  bool resume = false;
  double seconds_between_records = 10;  // at least: each waits for the disk
};

class TensorFileWriter {
 public:
  /// Takes the disk space of the whole file at once and writes the header. Throws Error if the disk
  /// is full, or if what was left is of another identity or layout; it stays then.
  TensorFileWriter(const std::filesystem::path& path, TensorFileLayout layout,
                   const Resumption& resumption = {});

  /// Whether this goes on with what a killed process left.
  bool is_resumed() const { return is_resumed_; }
  /// The size of a tensor.
  std::uint64_t bytes_of(std::string_view name) const { return tensors_[find(name)].extent.bytes; }
  /// Whether all bytes of the tensor are there.
  bool is_complete(std::string_view name) const { return tensors_[find(name)].is_complete(); }
  /// The bytes of a tensor that is complete.
  std::vector<std::byte> read(std::string_view name) const;

  /// The next bytes of a tensor. Throws Error if they are more than it has, or if there is no such
  /// tensor: a mistake of the caller that must never end in a wrong file.
  void append(std::string_view name, std::span<const std::byte> bytes);
  /// Records for whoever goes on with this which tensors are complete, and what to know about them.
  /// They are on the disk before the record is.
  void record(std::string_view note = {});
  /// Whether it is time to, where nothing else says when.
  bool is_record_due() const;
  /// The notes of the records that this goes on from, the first first.
  const std::vector<std::string>& notes() const { return notes_; }

  /// The size of the whole file.
  std::uint64_t file_bytes() const { return file_bytes_; }
  /// Where the file is until commit().
  const std::filesystem::path& temporary() const { return output_->temporary(); }
  /// Whether the file stays for whoever goes on with it when this is destroyed.
  bool is_kept() const { return is_kept_; }
  /// Throws Error if a tensor is missing or incomplete; else the file appears under its name.
  void commit();

 private:
  struct Tensor {
    TensorExtent extent;
    std::uint64_t written = 0;
    bool is_recorded = false;

    bool is_complete() const { return written == extent.bytes; }
  };

  std::size_t find(std::string_view name) const;
  bool resume(const std::string& header);
  void read_journal();
  void keep();

  std::filesystem::path path_;
  Resumption resumption_;
  std::string journal_head_;  // empty: what is complete is not recorded
  std::uint64_t file_bytes_;
  std::uint64_t journal_end_;
  bool is_resumed_ = false;
  bool is_kept_ = false;
  std::vector<std::string> notes_;
  Stopwatch since_record_;
  std::vector<Tensor> tensors_;
  std::unordered_map<std::string_view, std::size_t> index_;
  std::optional<OutputFile> output_;
};

}  // namespace nibble
