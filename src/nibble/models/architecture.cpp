#include "nibble/models/architecture.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "nibble/core/error.h"
#include "nibble/core/log.h"

namespace nibble {

extern const Architecture kGemma;
extern const Architecture kLlama;
extern const Architecture kMistral;
extern const Architecture kOpt;
extern const Architecture kQwen2;
extern const Architecture kQwen3;

namespace {

constexpr std::array kArchitectures = {&kLlama, &kGemma, &kMistral, &kOpt, &kQwen2, &kQwen3};

std::string known(std::string_view Architecture::*field) {
  std::vector<std::string_view> names;
  for (const Architecture* architecture : kArchitectures) {
    const std::string_view name = architecture->*field;
    const bool listed = std::find(names.begin(), names.end(), name) != names.end();
    if (!name.empty() && !listed) names.push_back(name);
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

const Architecture* find_by(std::string_view Architecture::*field, std::string_view value) {
  for (const Architecture* architecture : kArchitectures) {
    if (!value.empty() && architecture->*field == value) return architecture;
  }
  return nullptr;
}

/// The first of "architectures"; empty: none.
std::string architecture_name(const JsonObject& config) {
  if (!config.has("architectures")) return "";
  const Json& names = config.json().at("architectures");
  if (!names.is_array() || (!names.empty() && !names[0].is_string())) {
    fail("{}: \"architectures\" must be a list of names", config.origin());
  }
  return names.empty() ? "" : names[0].get<std::string>();
}

/// A token's id; nothing for a number that is no token's (-1, say), which no token ever equals.
std::optional<std::int32_t> token_id(const Json& value, const JsonObject& config,
                                     std::string_view key) {
  if (!value.is_number_integer()) {
    fail("{}: \"{}\" must hold token ids, which are integers", config.origin(), key);
  }
  const auto id = value.get<std::int64_t>();
  if (id < 0 || id > INT32_MAX) return std::nullopt;
  return static_cast<std::int32_t>(id);
}

}  // namespace

std::span<const Architecture* const> architectures() {
  return kArchitectures;
}

const Architecture& find_architecture(const JsonObject& config) {
  const std::string name = architecture_name(config);
  const std::string type = config.find_string("model_type").value_or("");
  const Architecture* by_name = find_by(&Architecture::name, name);
  const Architecture* by_type = find_by(&Architecture::model_type, type);
  if (by_name == nullptr && !name.empty() && !(by_type != nullptr && name.ends_with("Model"))) {
    fail("{}: architecture \"{}\" is not supported; supported: {}", config.origin(), name,
         known(&Architecture::name));
  }
  if (by_type == nullptr && by_name != nullptr) return *by_name;
  if (by_type == nullptr && type.empty()) {
    fail("{}: neither \"architectures\" nor \"model_type\" says what model this is; supported: {}",
         config.origin(), known(&Architecture::name));
  }
  if (by_type == nullptr) {
    fail("{}: model type \"{}\" is not supported; supported: {}", config.origin(), type,
         known(&Architecture::model_type));
  }
  if (by_name != nullptr && by_name != by_type) {
    warn("{}: \"model_type\" \"{}\" is taken, as in transformers, not \"architectures\" \"{}\"",
         config.origin(), type, name);
  }
  return *by_type;
}

ModelSpec spec_of_config(const JsonObject& config) {
  const Architecture& architecture = find_architecture(config);
  ModelSpec spec = architecture.make_spec(config);
  spec.architecture = architecture.name;
  return spec;
}

const Architecture& find_gguf_architecture(std::string_view name, std::string_view origin) {
  if (const Architecture* found = find_by(&Architecture::gguf, name)) return *found;
  fail("{}: architecture \"{}\" is not supported; supported: {}", origin, name,
       known(&Architecture::gguf));
}

namespace {

/// A list of positive numbers.
std::vector<float> read_factors(const JsonObject& scaling, std::string_view key) {
  std::vector<float> factors;
  if (scaling.has(key) && scaling.json().at(std::string(key)).is_array()) {
    for (const Json& factor : scaling.json().at(std::string(key))) {
      factors.push_back(factor.is_number() ? factor.get<float>() : 0.0f);
    }
  }
  const bool good = std::all_of(factors.begin(), factors.end(),
                                [](float factor) { return factor > 0 && std::isfinite(factor); });
  if (factors.empty() || !good) {
    fail("{}: \"{}\" must be a list of positive numbers", scaling.origin(), key);
  }
  return factors;
}

/// longrope where it says the same for all lengths: what frequencies are divided by.
void read_longrope(const JsonObject& scaling, RopeSpec& rope) {
  rope.scaling = RopeSpec::Scaling::kFactors;
  rope.factors = read_factors(scaling, "long_factor");
  if (rope.factors != read_factors(scaling, "short_factor") ||
      scaling.find_number("attention_factor").value_or(0) != 1) {
    fail(
        "{}: RoPE scaling \"longrope\" is supported with equal \"short_factor\" and "
        "\"long_factor\" and an \"attention_factor\" of 1 only",
        scaling.origin());
  }
}

/// "rope_scaling", the older name, wins over "rope_parameters" where both are there and it is not
/// empty, as in transformers.
std::optional<JsonObject> read_rope_parameters(const JsonObject& config) {
  const auto parameters = config.find_object("rope_parameters");
  const auto scaling = config.find_object("rope_scaling");
  if (!scaling || scaling->json().empty()) return parameters;
  if (parameters && parameters->json() != scaling->json()) {
    warn("{}: \"rope_scaling\" is taken, not \"rope_parameters\", which says otherwise",
         config.origin());
  }
  return scaling;
}

/// Where the parameters do not say it, the context is the one that the model was trained with.
double original_context(const JsonObject& config, const JsonObject& scaling) {
  constexpr const char* kKey = "original_max_position_embeddings";
  for (const JsonObject* object : {&config, &scaling}) {
    if (object->has(kKey)) return object->get_number(kKey);
  }
  return config.get_number("max_position_embeddings");
}

}  // namespace

RopeSpec read_rope(const JsonObject& config) {
  RopeSpec rope;
  const auto scaling = read_rope_parameters(config);
  rope.theta = scaling && scaling->has("rope_theta")
                   ? scaling->get_number("rope_theta")
                   : config.find_number("rope_theta").value_or(rope.theta);
  if (rope.theta <= 0) fail("{}: \"rope_theta\" must be above 0", config.origin());
  if (!scaling) return rope;
  for (const auto& [key, value] : scaling->json().items()) {
    if (!value.is_object()) continue;
    fail("{}: other parameters for layers of \"{}\" are not supported", scaling->origin(), key);
  }

  auto type = scaling->find_string("rope_type");
  if (!type) type = scaling->find_string("type");
  if (!type || *type == "default") return rope;
  if (*type == "longrope") {
    read_longrope(*scaling, rope);
    return rope;
  }
  if (*type != "linear" && *type != "llama3") {
    fail("{}: RoPE scaling \"{}\" is not supported; supported: default, linear, llama3, longrope",
         scaling->origin(), *type);
  }
  rope.factor = scaling->get_number("factor");
  if (rope.factor <= 0) fail("{}: \"factor\" must be above 0", scaling->origin());
  rope.scaling = RopeSpec::Scaling::kLinear;
  if (*type == "linear") return rope;

  rope.scaling = RopeSpec::Scaling::kLlama3;
  rope.low_freq_factor = scaling->get_number("low_freq_factor");
  rope.high_freq_factor = scaling->get_number("high_freq_factor");
  rope.original_context = original_context(config, *scaling);
  if (rope.low_freq_factor <= 0 || rope.high_freq_factor <= rope.low_freq_factor ||
      rope.original_context <= 0) {
    fail(
        "{}: llama3 scaling needs 0 < low_freq_factor < high_freq_factor and a positive "
        "original_max_position_embeddings",
        scaling->origin());
  }
  return rope;
}

std::optional<std::int32_t> read_bos(const JsonObject& config,
                                     std::optional<std::int32_t> fallback) {
  if (!config.json().contains("bos_token_id")) return fallback;
  if (!config.has("bos_token_id")) return std::nullopt;
  return token_id(config.json().at("bos_token_id"), config, "bos_token_id");
}

std::vector<std::int32_t> read_eos(const JsonObject& config, std::optional<std::int32_t> fallback) {
  std::vector<std::int32_t> ids;
  if (!config.json().contains("eos_token_id") && fallback) ids.push_back(*fallback);
  if (!config.has("eos_token_id")) return ids;
  const Json& value = config.json().at("eos_token_id");
  const Json list = value.is_array() ? value : Json::array({value});
  for (const Json& one : list) {
    if (const auto id = token_id(one, config, "eos_token_id")) ids.push_back(*id);
  }
  return ids;
}

}  // namespace nibble
