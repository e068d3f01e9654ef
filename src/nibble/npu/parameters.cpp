#include "nibble/npu/parameters.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "nibble/core/error.h"
#include "nibble/core/json.h"
#include "nibble/core/mapped_file.h"
#include "nibble/npu/built_in.h"

namespace nibble::npu {

const Parameters& Parameters::fitted() {
  static const Parameters parameters = parse(built_in_parameters(), "the built-in parameters");
  return parameters;
}

Parameters Parameters::read(const std::filesystem::path& path) {
  return parse(read_text_file(path), path.string());
}

Parameters Parameters::parse(std::string_view text, const std::string& origin) {
  const Json json = parse_json(text, origin);
  if (!json.is_object()) fail("{}: expected an object of parameters", origin);
  Parameters parameters;
  parameters.origin_ = origin;
  const JsonObject object(json, origin);
  for (const auto& [name, value] : json.items()) {
    const double number = object.get_number(name);
    if (number <= 0) fail("{}: \"{}\": expected a positive number, found {}", origin, name, number);
    parameters.values_[name] = number;
  }
  return parameters;
}

std::optional<double> Parameters::find(std::string_view name, const Recipe& recipe) const {
  const std::string key =
      fmt::format("{}.{}.{}", name, device_name(recipe.device), stack_name(recipe.stack));
  for (const std::string& each : {key + "." + precision_name(recipe.precision), key}) {
    const auto found = values_.find(each);
    if (found != values_.end()) return found->second;
  }
  return std::nullopt;
}

double Parameters::get(std::string_view name, const Recipe& recipe) const {
  const std::optional<double> value = find(name, recipe);
  if (!value) {
    fail("{}: no parameter {}.{}.{} for {}", origin_, name, device_name(recipe.device),
         stack_name(recipe.stack), precision_name(recipe.precision));
  }
  return *value;
}

double Parameters::get(std::string_view name, const Recipe& recipe, double fallback) const {
  return find(name, recipe).value_or(fallback);
}

}  // namespace nibble::npu
