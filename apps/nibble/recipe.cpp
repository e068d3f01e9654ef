#include "recipe.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <type_traits>
#include <utility>

#include "nibble/core/error.h"
#include "nibble/core/log.h"
#include "nibble/core/nearest_name.h"

namespace nibble::cli {
namespace {

constexpr int kVersion = 1;
constexpr const char* kVersionKey = "recipe";
constexpr const char* kDigests = "sha256";
constexpr const char* kKernels = "kernels";  // for people: sums differ in the last bits

std::string key_of(const std::string& name) {
  std::string key = name.substr(2);
  std::replace(key.begin(), key.end(), '-', '_');
  return key;
}

Json json_of(const RecipeFlags::Value& value) {
  return std::visit(
      [](const auto* variable) {
        if constexpr (std::is_same_v<decltype(variable), const std::optional<double>*>) {
          return *variable ? Json(**variable) : Json();
        } else {
          return Json(*variable);
        }
      },
      value);
}

std::string text_of(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

/// As a command line would have it.
std::vector<std::string> words_of(const Json& value) {
  if (!value.is_array()) return {text_of(value)};
  std::vector<std::string> words;
  for (const Json& item : value) words.push_back(text_of(item));
  return words;
}

}  // namespace

void RecipeFlags::add(const Flag& flag, const std::string& name, Value value,
                      std::function<bool()> counts) {
  fields_.push_back({flag, name, value, std::move(counts)});
}

Json RecipeFlags::recipe() const {
  Json recipe = {{kVersionKey, kVersion}};
  for (const Field& field : fields_) {
    if (!field.counts || field.counts()) recipe[key_of(field.name)] = json_of(field.value);
  }
  return recipe;
}

const RecipeFlags::Field& RecipeFlags::find(const std::string& key) const {
  const auto found = std::find_if(fields_.begin(), fields_.end(),
                                  [&](const Field& field) { return key_of(field.name) == key; });
  if (found != fields_.end()) return *found;
  std::vector<std::string> keys = {kVersionKey, kDigests, kKernels};
  for (const Field& field : fields_) keys.push_back(key_of(field.name));
  const std::optional<std::string> nearest = nearest_name(key, keys);
  fail("{}: \"{}\" is no key of a recipe{}", file_, key,
       nearest ? fmt::format("; did you mean \"{}\"?", *nearest) : "");
}

void RecipeFlags::read(const std::string& file) {
  file_ = file;
  const Json json = read_json_file(file);
  const JsonObject recipe(json, file);
  if (const std::int64_t version = recipe.find_int(kVersionKey).value_or(kVersion);
      version != kVersion) {
    fail("{}: a recipe of version {}, expected {}", file, version, kVersion);
  }
  for (const auto& [key, value] : json.items()) {
    if (key == kVersionKey || key == kKernels || value.is_null()) continue;
    if (key == kDigests) {
      const JsonObject digests = *recipe.find_object(kDigests);
      for (const auto& item : value.items()) digests_[item.key()] = digests.get_string(item.key());
      continue;
    }
    const Field& field = find(key);
    const std::vector<std::string> words = words_of(value);
    if (field.flag.given()) is_changed_ = true;
    if (field.flag.given() || words.empty()) continue;
    try {
      field.flag.set(words);
    } catch (const UsageError& error) {
      fail("{}: \"{}\": {}", file, key, error.what());
    }
  }
}

void RecipeFlags::check_digest(const std::string& of, const std::string& digest) const {
  const auto expected = digests_.find(of);
  if (is_changed_ || expected == digests_.end() || expected->second == digest) return;
  fail("{}: made with {} of sha256 {}, found {} (without \"{}\" the recipe takes what it finds)",
       file_, of, expected->second, digest, kDigests);
}

std::string recipe_line(const Json& recipe) {
  if (!recipe.is_object()) return "";
  std::string line = recipe.contains("algorithm") ? text_of(recipe["algorithm"]) : "";
  for (const auto& [key, value] : recipe.items()) {
    const bool is_shown = key != "algorithm" && key != kVersionKey && key != kDigests &&
                          !(value.is_array() && value.empty());
    if (is_shown) line += fmt::format("; {}: {}", key, value.dump());
  }
  return one_line(line);
}

}  // namespace nibble::cli
