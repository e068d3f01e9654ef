#include "nibble/core/json.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "nibble/core/error.h"
#include "nibble/core/mapped_file.h"

namespace nibble {
namespace {

constexpr int kMaxDepth = 200;

/// A value as an error message shows it: short whatever the file holds.
std::string shown(const Json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

[[noreturn]] void wrong_type(const std::string& origin, std::string_view key,
                             std::string_view expected, const Json& found) {
  fail("{}: \"{}\" must be {}, found {}", origin, key, expected, shown(found));
}

}  // namespace

Json parse_json(std::string_view text, const std::string& origin) {
  bool too_deep = false;
  const auto limit_depth = [&](int depth, Json::parse_event_t, Json&) {
    too_deep |= depth > kMaxDepth;
    return !too_deep;
  };
  Json json;
  try {
    json = Json::parse(text, limit_depth);
  } catch (const Json::exception& error) {
    // The library's message begins with an identifier in brackets that says nothing to a user.
    const std::string_view message = error.what();
    const std::size_t start = message.find("] ");
    fail("{}: not valid JSON: {}", origin,
         start == std::string_view::npos ? message : message.substr(start + 2));
  }
  if (too_deep) fail("{}: JSON nested deeper than {} levels", origin, kMaxDepth);
  return json;
}

Json read_json_file(const std::filesystem::path& path) {
  return parse_json(read_text_file(path), path.string());
}

std::string json_file_text(const Json& json) {
  return json.dump(2) + "\n";
}

JsonObject::JsonObject(const Json& json, std::string origin)
    : json_(&json), origin_(std::move(origin)) {
  if (!json.is_object()) fail("{}: must be a JSON object, found {}", origin_, shown(json));
}

const Json* JsonObject::find(std::string_view key) const {
  const auto it = json_->find(key);
  return it == json_->end() || it->is_null() ? nullptr : &*it;
}

void JsonObject::missing(std::string_view key, std::string_view expected) const {
  fail("{}: \"{}\" is missing (expected {})", origin_, key, expected);
}

bool JsonObject::has(std::string_view key) const {
  return find(key) != nullptr;
}

std::optional<std::string> JsonObject::find_string(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) wrong_type(origin_, key, "a string", *value);
  return value->get<std::string>();
}

std::optional<std::int64_t> JsonObject::find_int(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  const bool fits = value->is_number_integer() &&
                    (!value->is_number_unsigned() || value->get<std::uint64_t>() <= INT64_MAX);
  if (!fits) wrong_type(origin_, key, "an integer", *value);
  return value->get<std::int64_t>();
}

std::optional<double> JsonObject::find_number(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number() || !std::isfinite(value->get<double>())) {
    wrong_type(origin_, key, "a finite number", *value);
  }
  return value->get<double>();
}

std::optional<bool> JsonObject::find_bool(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) wrong_type(origin_, key, "true or false", *value);
  return value->get<bool>();
}

std::optional<JsonObject> JsonObject::find_object(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_object()) wrong_type(origin_, key, "an object", *value);
  return JsonObject(*value, fmt::format("{}: \"{}\"", origin_, key));
}

std::string JsonObject::get_string(std::string_view key) const {
  auto value = find_string(key);
  if (!value) missing(key, "a string");
  return *std::move(value);
}

double JsonObject::get_number(std::string_view key) const {
  const auto value = find_number(key);
  if (!value) missing(key, "a number");
  return *value;
}

bool JsonObject::get_bool(std::string_view key, bool fallback) const {
  return find_bool(key).value_or(fallback);
}

std::int64_t JsonObject::get_int(std::string_view key, std::int64_t lo, std::int64_t hi) const {
  const auto value = find_int(key);
  if (!value) missing(key, fmt::format("an integer of {} to {}", lo, hi));
  if (*value < lo || *value > hi) {
    fail("{}: \"{}\" must be an integer of {} to {}, found {}", origin_, key, lo, hi, *value);
  }
  return *value;
}

std::int64_t JsonObject::get_int(std::string_view key, std::int64_t lo, std::int64_t hi,
                                 std::int64_t fallback) const {
  return has(key) ? get_int(key, lo, hi) : fallback;
}

JsonObject JsonObject::get_object(std::string_view key) const {
  auto value = find_object(key);
  if (!value) missing(key, "an object");
  return *std::move(value);
}

}  // namespace nibble
