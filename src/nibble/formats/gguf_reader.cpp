#include "nibble/formats/gguf_reader.h"

#include "nibble/core/error.h"
#include "nibble/formats/gguf_types.h"
#include "nibble/formats/tensor_table.h"

namespace nibble {
namespace {

constexpr int kMaxDepth = 8;                  // of arrays in arrays; no known key has more than 2
constexpr std::uint64_t kSmallestArray = 12;  // type and count
constexpr std::uint64_t kSmallestString = 8;  // its length

/// The least bytes that an element of an array takes.
std::uint64_t smallest_element(GgufType type) {
  if (type == GgufType::kString) return kSmallestString;
  if (type == GgufType::kArray) return kSmallestArray;
  return gguf_type_bytes(type);
}

}  // namespace

std::string GgufReader::context() const {
  return name_.data() == nullptr ? std::string(what_)
                                 : fmt::format("{} {}", what_, quoted_name(name_));
}

const std::byte* GgufReader::take(std::uint64_t count) {
  if (count > remaining()) {
    fail("{}: cut off in {}: {} bytes needed at byte {}, the file has {}", origin_, context(),
         count, position_, bytes_.size());
  }
  const std::byte* start = bytes_.data() + position_;
  position_ += count;
  return start;
}

std::string_view GgufReader::read_string() {
  const auto length = read<std::uint64_t>();
  return {reinterpret_cast<const char*>(take(length)), static_cast<std::size_t>(length)};
}

GgufValue GgufReader::read_value() {
  const auto type = static_cast<GgufType>(read<std::uint32_t>());
  if (type == GgufType::kArray) return read_array(1);
  if (gguf_type_name(type).empty()) {
    fail("{}: {}: unknown value type {}", origin_, context(), static_cast<std::uint32_t>(type));
  }
  const GgufValue value{.type = type, .data = bytes_.data() + position_};
  skip_value(type);
  return value;
}

void GgufReader::skip_value(GgufType type) {
  if (type == GgufType::kString) {
    read_string();
  } else {
    take(gguf_type_bytes(type));
  }
}

GgufValue GgufReader::read_array(int depth) {
  if (depth > kMaxDepth) fail("{}: {}: arrays nested too deeply", origin_, context());
  GgufValue array{.type = GgufType::kArray};
  array.element = static_cast<GgufType>(read<std::uint32_t>());
  array.count = read<std::uint64_t>();
  array.data = bytes_.data() + position_;
  const std::uint64_t smallest = smallest_element(array.element);
  if (smallest == 0) {
    fail("{}: {}: an array of the unknown value type {}", origin_, context(),
         static_cast<std::uint32_t>(array.element));
  }
  if (array.count > remaining() / smallest) {
    fail("{}: {}: an array of {} elements cannot fit in {} bytes", origin_, context(), array.count,
         remaining());
  }
  if (array.element == GgufType::kArray) {
    for (std::uint64_t i = 0; i < array.count; ++i) read_array(depth + 1);
  } else if (array.element == GgufType::kString) {
    for (std::uint64_t i = 0; i < array.count; ++i) read_string();
  } else {
    take(array.count * smallest);
  }
  return array;
}

}  // namespace nibble
