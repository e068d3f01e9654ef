// Walks the bytes of a GGUF file from front to back; nothing is read past the end, nothing is
// allocated. Errors name the file and what was being read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "nibble/formats/gguf.h"

namespace nibble {

class GgufReader {
 public:
  GgufReader(std::span<const std::byte> bytes, std::string origin)
      : bytes_(bytes), origin_(std::move(origin)) {}

  /// What is read next, for messages: "metadata key" and its name, or "the header" alone.
  void enter(std::string_view what, std::string_view name = {}) {
    what_ = what;
    name_ = name;
  }

  const std::string& origin() const { return origin_; }
  std::uint64_t position() const { return position_; }
  std::uint64_t remaining() const { return bytes_.size() - position_; }

  /// The next `count` bytes. Throws Error if the file ends before.
  const std::byte* take(std::uint64_t count);

  template <typename T>
  T read() {
    T value;
    std::memcpy(&value, take(sizeof(T)), sizeof(T));
    return value;
  }

  /// A length of 8 bytes and as many bytes of text.
  std::string_view read_string();

  /// A type and a value of it, checked to its end.
  GgufValue read_value();

 private:
  void skip_value(GgufType type);
  GgufValue read_array(int depth);
  std::string context() const;

  std::span<const std::byte> bytes_;
  std::string origin_;
  std::uint64_t position_ = 0;
  std::string_view what_;
  std::string_view name_;
};

}  // namespace nibble
