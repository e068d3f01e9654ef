#include "nibble/core/json.h"

#include <array>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "nibble/core/error.h"
#include "nibble/core/mapped_file.h"

namespace nibble {
namespace {

constexpr int kMaxDepth = 200;

// Python's json has names for the floats that JSON has no numbers for. The parser and the writer of
// the library know none: on the way through them such a number is a text that no file holds.
constexpr std::array<std::pair<std::string_view, double>, 3> kNotFinite = {
    {{"-Infinity", -std::numeric_limits<double>::infinity()},
     {"Infinity", std::numeric_limits<double>::infinity()},
     {"NaN", std::numeric_limits<double>::quiet_NaN()}}};
constexpr std::string_view kMark = "\x01not finite: ";
constexpr std::string_view kWrittenMark = "\"\\u0001not finite: ";

/// `text` with a marked string in place of each name that stands outside strings; unchanged, as
/// nearly every text is, if there is none.
std::optional<std::string> mark_not_finite(std::string_view text) {
  std::string out;
  bool in_string = false;
  std::size_t copied = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string && c == '\\') {
      ++i;
    } else if (c == '"') {
      in_string = !in_string;
    } else if (!in_string && (c == 'N' || c == 'I' || c == '-')) {
      for (const auto& [name, value] : kNotFinite) {
        if (!text.substr(i).starts_with(name)) continue;
        out += text.substr(copied, i - copied);
        out += fmt::format("{}{}\"", kWrittenMark, name);
        i += name.size() - 1;
        copied = i + 1;
        break;
      }
    }
  }
  if (copied == 0) return std::nullopt;
  return out += text.substr(copied);
}

/// Replaces marked strings by the numbers that they stand for.
void unmark_not_finite(Json& json) {
  if (json.is_structured()) {
    for (Json& item : json) unmark_not_finite(item);
  } else if (json.is_string() && json.get_ref<const std::string&>().starts_with(kMark)) {
    const std::string name = json.get_ref<const std::string&>().substr(kMark.size());
    for (const auto& [known, value] : kNotFinite) {
      if (known == name) json = value;
    }
  }
}

/// Python's name of a number that is not finite; empty for anything else.
std::string_view not_finite_name(const Json& json) {
  if (!json.is_number_float() || std::isfinite(json.get<double>())) return "";
  const auto value = json.get<double>();
  return std::isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
}

/// Replaces numbers that are not finite by marked strings; says whether there were any.
bool mark_numbers(Json& json) {
  if (const std::string_view name = not_finite_name(json); !name.empty()) {
    json = std::string(kMark) + std::string(name);
    return true;
  }
  bool any = false;
  if (json.is_structured()) {
    for (Json& item : json) any |= mark_numbers(item);
  }
  return any;
}

/// A value as an error message shows it: short whatever the file holds.
std::string shown(const Json& value) {
  if (const std::string_view name = not_finite_name(value); !name.empty()) {
    return std::string(name);
  }
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
  const std::optional<std::string> marked = mark_not_finite(text);
  try {
    json = Json::parse(marked ? *marked : text, limit_depth);
  } catch (const Json::exception& error) {
    // The library's message begins with an identifier in brackets that says nothing to a user.
    const std::string_view message = error.what();
    const std::size_t start = message.find("] ");
    fail("{}: not valid JSON: {}", origin,
         start == std::string_view::npos ? message : message.substr(start + 2));
  }
  if (too_deep) fail("{}: JSON nested deeper than {} levels", origin, kMaxDepth);
  if (marked) unmark_not_finite(json);
  return json;
}

std::string json_text(const Json& json) {
  Json marked = json;
  std::string text = (mark_numbers(marked) ? marked : json).dump(2);
  for (std::size_t at = 0; (at = text.find(kWrittenMark, at)) != std::string::npos;) {
    const std::size_t end = text.find('"', at + kWrittenMark.size());
    text.erase(end, 1);
    text.erase(at, kWrittenMark.size());
  }
  return text;
}

Json read_json_file(const std::filesystem::path& path) {
  return parse_json(read_text_file(path), path.string());
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
