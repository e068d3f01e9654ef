// The tensors of one file by name, as the readers of safetensors and GGUF hold them. A tensor of a
// type that Nibble cannot use is kept too: it fails the use, not the opening of the file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "nibble/core/mapped_file.h"
#include "nibble/core/tensor_view.h"

namespace nibble {

/// One tensor of a file. `view.data` need not be aligned to its elements.
struct TensorEntry {
  std::string name;
  TensorView view;          // its dtype means nothing where `unsupported` is set
  std::string unsupported;  // the type's name in the file, if it is one that Nibble cannot use
};

/// Whether several tensors may have bytes in common.
enum class SharedBytes { kRefused, kAllowed };

class TensorTable {
 public:
  TensorTable() = default;
  TensorTable(TensorTable&&) = default;  // moves keep entries_ in place, copies would not
  TensorTable& operator=(TensorTable&&) = default;
  /// Orders `entries` by their place in `file` and checks them: throws Error on two tensors of one
  /// name and, where that is refused, on two whose bytes overlap. Every entry's bytes lie in `file`
  /// already. `supported` (a list for messages: "F32, F16") is what find() names when it refuses a
  /// type.
  TensorTable(std::vector<TensorEntry> entries, const MappedFile& file, std::string supported,
              SharedBytes shared = SharedBytes::kRefused);

  /// In the order in which their bytes lie in the file.
  const std::vector<TensorEntry>& entries() const { return entries_; }
  bool contains(std::string_view name) const { return index_.contains(name); }

  /// The tensor `name`, or null. Throws Error if its type is one that Nibble cannot use.
  const TensorView* find(std::string_view name) const;
  /// As find(), but a missing tensor is an Error too.
  const TensorView& get(std::string_view name) const;

 private:
  std::string origin_;  // the file's name, for messages
  std::string supported_;
  std::vector<TensorEntry> entries_;
  std::unordered_map<std::string_view, std::size_t> index_;  // views of the names in entries_
};

/// Product of `shape`, or -1 where it does not fit in 63 bits.
std::int64_t checked_elements(const std::vector<std::int64_t>& shape);

/// A name out of a file as an error message shows it: quoted, on one line, cut if it is long.
std::string quoted_name(std::string_view name);

}  // namespace nibble
