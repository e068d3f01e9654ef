#include "nibble/models/foreign/config.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "nibble/core/error.h"

namespace nibble::foreign {
namespace {

constexpr std::int64_t kMaxGroup = 1 << 30;

/// 0 for what is no number.
int parse_size(const std::string& text) {
  int size = 0;
  const char* end = text.data() + text.size();
  return std::from_chars(text.data(), end, size).ptr == end ? size : 0;
}

}  // namespace

std::int64_t read_group_size(const JsonObject& config, const char* key) {
  const std::int64_t size = config.has(key) ? config.get_int(key, -1, kMaxGroup) : 128;
  if (size == 0) fail("{}: \"{}\" must be -1 or more than 0, found 0", config.origin(), key);
  return size < 0 ? 0 : size;
}

std::string check_value(const JsonObject& config, const char* key,
                        std::initializer_list<std::string_view> supported) {
  const std::string said = config.find_string(key).value_or(std::string(*supported.begin()));
  std::string value = said;
  std::transform(value.begin(), value.end(), value.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (std::find(supported.begin(), supported.end(), value) != supported.end()) return value;
  std::string list;
  for (const std::string_view name : supported)
    list += (list.empty() ? "" : ", ") + std::string(name);
  fail("{}: \"{}\" \"{}\" is not supported; supported: {}", config.origin(), key, said, list);
}

std::pair<std::int64_t, std::int64_t> read_block(const JsonObject& config, const char* key) {
  Json block = config.json().at(key);
  if (block.is_string()) {
    const auto text = block.get<std::string>();
    const std::size_t cross = std::min(text.find('x'), text.size());
    block = {parse_size(text.substr(0, cross)),
             parse_size(text.substr(std::min(cross + 1, text.size())))};
  }
  const auto good = [](const Json& size) {
    return size.is_number_integer() && size > 0 && size <= 1 << 20;
  };
  if (!block.is_array() || block.size() != 2 || !good(block[0]) || !good(block[1])) {
    fail("{}: \"{}\" must be two numbers above 0", config.origin(), key);
  }
  return {block[0].get<std::int64_t>(), block[1].get<std::int64_t>()};
}

void refuse_setting(const JsonObject& config, const char* key) {
  if (!config.has(key)) return;
  const Json& value = config.json().at(key);
  if (value.is_structured() && value.empty()) return;
  fail("{}: \"{}\" {} is not supported", config.origin(), key, value.dump());
}

}  // namespace nibble::foreign
