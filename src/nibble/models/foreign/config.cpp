#include "nibble/models/foreign/config.h"

#include <algorithm>
#include <string>

#include "nibble/core/error.h"

namespace nibble::foreign {
namespace {

constexpr std::int64_t kMaxGroup = 1 << 30;

}  // namespace

std::int64_t read_group_size(const JsonObject& config, const char* key) {
  const std::int64_t size = config.get_int(key, -1, kMaxGroup);
  if (size == 0) fail("{}: \"{}\" must be -1 or more than 0, found 0", config.origin(), key);
  return size < 0 ? 0 : size;
}

void check_value(const JsonObject& config, const char* key,
                 std::initializer_list<std::string_view> supported) {
  std::string value = config.find_string(key).value_or(std::string(*supported.begin()));
  std::transform(value.begin(), value.end(), value.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (std::find(supported.begin(), supported.end(), value) != supported.end()) return;
  std::string list;
  for (const std::string_view name : supported)
    list += (list.empty() ? "" : ", ") + std::string(name);
  fail("{}: \"{}\" \"{}\" is not supported; supported: {}", config.origin(), key, value, list);
}

}  // namespace nibble::foreign
