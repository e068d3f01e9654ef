// JSON read from files, with errors that name the file and the key. A `null` counts as absent.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace nibble {

using Json = nlohmann::json;

/// Parses JSON text, NaN, Infinity and -Infinity among the numbers as Python's json writes and
/// reads them. `origin` (a file name, as a rule) opens every error message. Nesting deeper than 200
/// levels is refused.
Json parse_json(std::string_view text, const std::string& origin);

/// The text of `json`, indented, numbers that are not finite as Python writes them.
std::string json_text(const Json& json);

/// Reads and parses a JSON file. Throws Error naming the file.
Json read_json_file(const std::filesystem::path& path);

/// One object of a JSON document, read field by field. Every getter throws Error naming origin,
/// key, what was expected and what was found. The find_ forms give nothing where the key is absent
/// or null.
class JsonObject {
 public:
  /// `json` must be an object (else Error) and outlive this.
  JsonObject(const Json& json, std::string origin);

  const Json& json() const { return *json_; }
  const std::string& origin() const { return origin_; }
  bool has(std::string_view key) const;

  std::optional<std::string> find_string(std::string_view key) const;
  std::optional<std::int64_t> find_int(std::string_view key) const;
  std::optional<double> find_number(std::string_view key) const;  // finite; integers allowed
  std::optional<bool> find_bool(std::string_view key) const;
  std::optional<JsonObject> find_object(std::string_view key) const;

  std::string get_string(std::string_view key) const;
  double get_number(std::string_view key) const;
  bool get_bool(std::string_view key, bool fallback) const;
  /// An integer of lo..hi.
  std::int64_t get_int(std::string_view key, std::int64_t lo, std::int64_t hi) const;
  std::int64_t get_int(std::string_view key, std::int64_t lo, std::int64_t hi,
                       std::int64_t fallback) const;
  JsonObject get_object(std::string_view key) const;

 private:
  const Json* find(std::string_view key) const;
  [[noreturn]] void missing(std::string_view key, std::string_view expected) const;

  const Json* json_;
  std::string origin_;
};

}  // namespace nibble
