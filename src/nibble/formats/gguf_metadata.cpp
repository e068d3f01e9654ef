// The getters of GgufFile's metadata. The values were checked when the file was opened, so that
// here only their types are in question.
#include <cmath>
#include <cstring>

#include "nibble/core/error.h"
#include "nibble/formats/gguf.h"
#include "nibble/formats/gguf_types.h"

namespace nibble {
namespace {

template <typename T>
T load(const std::byte* data) {
  T value;
  std::memcpy(&value, data, sizeof(T));
  return value;
}

std::string_view load_string(const std::byte* data) {
  const auto length = load<std::uint64_t>(data);
  return {reinterpret_cast<const char*>(data) + sizeof length, static_cast<std::size_t>(length)};
}

bool is_integer(GgufType type) {
  return !gguf_type_name(type).empty() && type != GgufType::kF32 && type != GgufType::kF64 &&
         type != GgufType::kBool && type != GgufType::kString && type != GgufType::kArray;
}

bool is_float(GgufType type) {
  return type == GgufType::kF32 || type == GgufType::kF64;
}

bool is_number(GgufType type) {
  return is_integer(type) || is_float(type);
}

bool is_string(GgufType type) {
  return type == GgufType::kString;
}

/// An integer of the type given; nothing if it is above 2^63 - 1.
std::optional<std::int64_t> load_int(GgufType type, const std::byte* data) {
  switch (type) {
    case GgufType::kU8:
      return load<std::uint8_t>(data);
    case GgufType::kI8:
      return load<std::int8_t>(data);
    case GgufType::kU16:
      return load<std::uint16_t>(data);
    case GgufType::kI16:
      return load<std::int16_t>(data);
    case GgufType::kU32:
      return load<std::uint32_t>(data);
    case GgufType::kI32:
      return load<std::int32_t>(data);
    default: {
      const auto value = load<std::int64_t>(data);
      if (type == GgufType::kU64 && value < 0) return std::nullopt;
      return value;
    }
  }
}

double load_float(GgufType type, const std::byte* data) {
  return type == GgufType::kF32 ? static_cast<double>(load<float>(data)) : load<double>(data);
}

/// A value as an error message shows it.
std::string shown(const GgufValue& value) {
  if (value.type == GgufType::kArray) {
    return fmt::format("an array of {} {}", value.count, gguf_type_name(value.element));
  }
  if (is_string(value.type)) return quoted_name(load_string(value.data));
  if (is_float(value.type)) return fmt::format("{}", load_float(value.type, value.data));
  if (value.type == GgufType::kBool) return fmt::format("BOOL {}", load<std::uint8_t>(value.data));
  const auto number = load_int(value.type, value.data);
  return number ? fmt::format("{}", *number) : fmt::format("{}", load<std::uint64_t>(value.data));
}

}  // namespace

const GgufValue* GgufFile::find_value(std::string_view key) const {
  const auto it = values_.find(key);
  return it == values_.end() ? nullptr : &it->second;
}

void GgufFile::wrong_type(std::string_view key, std::string_view expected,
                          const GgufValue& found) const {
  fail("{}: metadata key {} must be {}, found {}", file_.path().string(), quoted_name(key),
       expected, shown(found));
}

void GgufFile::missing(std::string_view key, std::string_view expected) const {
  fail("{}: metadata key {} is missing (expected {})", file_.path().string(), quoted_name(key),
       expected);
}

bool GgufFile::is_array(std::string_view key) const {
  const GgufValue* value = find_value(key);
  return value != nullptr && value->type == GgufType::kArray;
}

std::optional<std::string_view> GgufFile::find_string(std::string_view key) const {
  const GgufValue* value = find_value(key);
  if (value == nullptr) return std::nullopt;
  if (!is_string(value->type)) wrong_type(key, "a string", *value);
  return load_string(value->data);
}

std::optional<std::int64_t> GgufFile::find_int(std::string_view key) const {
  const GgufValue* value = find_value(key);
  if (value == nullptr) return std::nullopt;
  if (!is_integer(value->type)) wrong_type(key, "an integer", *value);
  const auto number = load_int(value->type, value->data);
  if (!number) wrong_type(key, "an integer below 2^63", *value);
  return number;
}

std::optional<double> GgufFile::find_number(std::string_view key) const {
  const GgufValue* value = find_value(key);
  if (value == nullptr) return std::nullopt;
  if (is_integer(value->type)) return static_cast<double>(*find_int(key));
  if (!is_float(value->type) || !std::isfinite(load_float(value->type, value->data))) {
    wrong_type(key, "a finite number", *value);
  }
  return load_float(value->type, value->data);
}

std::optional<bool> GgufFile::find_bool(std::string_view key) const {
  const GgufValue* value = find_value(key);
  if (value == nullptr) return std::nullopt;
  if (value->type != GgufType::kBool || load<std::uint8_t>(value->data) > 1) {
    wrong_type(key, "true or false", *value);
  }
  return load<std::uint8_t>(value->data) == 1;
}

const GgufValue* GgufFile::find_array(std::string_view key, std::string_view expected,
                                      bool (*accepts)(GgufType)) const {
  const GgufValue* value = find_value(key);
  if (value == nullptr) return nullptr;
  if (value->type != GgufType::kArray || !accepts(value->element)) {
    wrong_type(key, expected, *value);
  }
  return value;
}

std::optional<std::vector<std::string_view>> GgufFile::find_strings(std::string_view key) const {
  const GgufValue* array = find_array(key, "an array of strings", is_string);
  if (array == nullptr) return std::nullopt;
  std::vector<std::string_view> strings;
  strings.reserve(array->count);
  const std::byte* data = array->data;
  for (std::uint64_t i = 0; i < array->count; ++i) {
    strings.push_back(load_string(data));
    data += sizeof(std::uint64_t) + strings.back().size();
  }
  return strings;
}

std::optional<std::vector<float>> GgufFile::find_floats(std::string_view key) const {
  const GgufValue* array = find_array(key, "an array of numbers", is_number);
  if (array == nullptr) return std::nullopt;
  if (is_integer(array->element)) {  // what gguf's writer makes of a list that begins with one
    const std::vector<std::int64_t> ints = *find_ints(key);
    return std::vector<float>(ints.begin(), ints.end());
  }
  const std::uint64_t step = gguf_type_bytes(array->element);
  std::vector<float> floats(array->count);
  for (std::uint64_t i = 0; i < array->count; ++i) {
    floats[i] = static_cast<float>(load_float(array->element, array->data + i * step));
  }
  return floats;
}

std::optional<std::vector<std::int64_t>> GgufFile::find_ints(std::string_view key) const {
  const GgufValue* array = find_array(key, "an array of integers", is_integer);
  if (array == nullptr) return std::nullopt;
  const std::uint64_t step = gguf_type_bytes(array->element);
  std::vector<std::int64_t> ints(array->count);
  for (std::uint64_t i = 0; i < array->count; ++i) {
    const auto number = load_int(array->element, array->data + i * step);
    if (!number) wrong_type(key, "an array of integers below 2^63", *array);
    ints[i] = *number;
  }
  return ints;
}

std::string_view GgufFile::get_string(std::string_view key) const {
  const auto value = find_string(key);
  if (!value) missing(key, "a string");
  return *value;
}

double GgufFile::get_number(std::string_view key) const {
  const auto value = find_number(key);
  if (!value) missing(key, "a number");
  return *value;
}

bool GgufFile::get_bool(std::string_view key, bool fallback) const {
  return find_bool(key).value_or(fallback);
}

std::int64_t GgufFile::get_int(std::string_view key, std::int64_t lo, std::int64_t hi) const {
  const auto value = find_int(key);
  if (!value) missing(key, fmt::format("an integer of {} to {}", lo, hi));
  if (*value < lo || *value > hi) {
    wrong_type(key, fmt::format("an integer of {} to {}", lo, hi), *find_value(key));
  }
  return *value;
}

std::int64_t GgufFile::get_int(std::string_view key, std::int64_t lo, std::int64_t hi,
                               std::int64_t fallback) const {
  return has(key) ? get_int(key, lo, hi) : fallback;
}

std::vector<std::string_view> GgufFile::get_strings(std::string_view key) const {
  auto value = find_strings(key);
  if (!value) missing(key, "an array of strings");
  return *std::move(value);
}

std::vector<float> GgufFile::get_floats(std::string_view key) const {
  auto value = find_floats(key);
  if (!value) missing(key, "an array of floats");
  return *std::move(value);
}

std::vector<std::int64_t> GgufFile::get_ints(std::string_view key) const {
  auto value = find_ints(key);
  if (!value) missing(key, "an array of integers");
  return *std::move(value);
}

}  // namespace nibble
