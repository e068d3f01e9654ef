// Reads GGUF v2 and v3 (little-endian), mapped, with nothing trusted before it is checked. The
// format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Metadata is looked up in the
// mapping when asked for; string arrays (a vocabulary) are views of it, not copies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "nibble/core/mapped_file.h"
#include "nibble/core/tensor_view.h"
#include "nibble/formats/tensor_table.h"

namespace nibble {

class GgufReader;

/// The value types of GGUF metadata, numbered as in the file.
enum class GgufType : std::uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64
};

/// Where a checked metadata value lies in the mapping.
struct GgufValue {
  GgufType type = GgufType::kU8;
  GgufType element = GgufType::kU8;  // of an array
  std::uint64_t count = 1;           // elements of an array
  const std::byte* data = nullptr;   // a string begins with its length, 8 bytes
};

/// Whether `path` is a file that begins as GGUF files do, whatever its name.
bool is_gguf_file(const std::filesystem::path& path);

/// One mapped GGUF file. What its functions return as views stays valid as long as this.
class GgufFile {
 public:
  /// Maps the file and checks all metadata and tensor infos against its size. Throws Error naming
  /// file and key or tensor. Tensor types that Nibble cannot use fail find(), not this; a file
  /// with a vocabulary and no tensors opens.
  explicit GgufFile(const std::filesystem::path& path);

  const MappedFile& file() const { return file_; }
  std::uint32_t version() const { return version_; }

  // Metadata. Every getter throws Error naming file, key, what was expected and what was found;
  // the find_ forms give nothing where the key is absent.
  const std::vector<std::string_view>& keys() const { return keys_; }  // in the file's order
  bool has(std::string_view key) const { return values_.contains(key); }
  bool is_array(std::string_view key) const;  // false if absent
  std::optional<std::string_view> find_string(std::string_view key) const;
  std::optional<std::int64_t> find_int(std::string_view key) const;  // any integer type
  std::optional<double> find_number(std::string_view key) const;     // finite; integers allowed
  std::optional<bool> find_bool(std::string_view key) const;
  std::optional<std::vector<std::string_view>> find_strings(std::string_view key) const;
  std::optional<std::vector<float>> find_floats(std::string_view key) const;       // any numbers
  std::optional<std::vector<std::int64_t>> find_ints(std::string_view key) const;  // any integers

  std::string_view get_string(std::string_view key) const;
  double get_number(std::string_view key) const;
  bool get_bool(std::string_view key, bool fallback) const;
  /// An integer of lo..hi.
  std::int64_t get_int(std::string_view key, std::int64_t lo, std::int64_t hi) const;
  std::int64_t get_int(std::string_view key, std::int64_t lo, std::int64_t hi,
                       std::int64_t fallback) const;
  std::vector<std::string_view> get_strings(std::string_view key) const;
  std::vector<float> get_floats(std::string_view key) const;
  std::vector<std::int64_t> get_ints(std::string_view key) const;

  // Tensors. Shapes are outermost first, so reversed from the file: a ggml matrix of ne = {cols,
  // rows} has the shape (rows, cols).
  const std::vector<TensorEntry>& entries() const { return tensors_.entries(); }
  std::vector<std::string> names() const;
  bool contains(std::string_view name) const { return tensors_.contains(name); }
  /// The tensor `name`, or null. Throws Error if it has a type that Nibble cannot use, as IQ2_XXS.
  const TensorView* find(std::string_view name) const { return tensors_.find(name); }
  /// As find(), but a missing tensor is an Error too.
  const TensorView& get(std::string_view name) const { return tensors_.get(name); }

 private:
  void read_metadata(GgufReader& reader, std::uint64_t count);
  void read_tensors(GgufReader& reader, std::uint64_t count);
  const GgufValue* find_value(std::string_view key) const;
  const GgufValue* find_array(std::string_view key, std::string_view expected,
                              bool (*accepts)(GgufType)) const;
  [[noreturn]] void wrong_type(std::string_view key, std::string_view expected,
                               const GgufValue& found) const;
  [[noreturn]] void missing(std::string_view key, std::string_view expected) const;

  MappedFile file_;
  std::uint32_t version_ = 0;
  std::vector<std::string_view> keys_;
  std::unordered_map<std::string_view, GgufValue> values_;
  TensorTable tensors_;
};

}  // namespace nibble
