#include "nibble/models/architecture.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "nibble/core/error.h"

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

std::int32_t token_id(const Json& value, const JsonObject& config, std::string_view key) {
  if (!value.is_number_integer() || value.get<std::int64_t>() < 0 ||
      value.get<std::int64_t>() > INT32_MAX) {
    fail("{}: \"{}\" must hold token ids, integers of 0 and more", config.origin(), key);
  }
  return value.get<std::int32_t>();
}

}  // namespace

std::span<const Architecture* const> architectures() {
  return kArchitectures;
}

const Architecture& find_architecture(const JsonObject& config) {
  if (config.has("architectures")) {
    const Json& names = config.json().at("architectures");
    if (!names.is_array() || names.empty() || !names[0].is_string()) {
      fail("{}: \"architectures\" must be a list of names", config.origin());
    }
    const auto name = names[0].get<std::string>();
    if (const Architecture* found = find_by(&Architecture::name, name)) return *found;
    fail("{}: architecture \"{}\" is not supported; supported: {}", config.origin(), name,
         known(&Architecture::name));
  }
  const auto type = config.find_string("model_type");
  if (!type) {
    fail("{}: neither \"architectures\" nor \"model_type\" says what model this is; supported: {}",
         config.origin(), known(&Architecture::name));
  }
  if (const Architecture* found = find_by(&Architecture::model_type, *type)) return *found;
  fail("{}: model type \"{}\" is not supported; supported: {}", config.origin(), *type,
       known(&Architecture::model_type));
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

}  // namespace

RopeSpec read_rope(const JsonObject& config) {
  RopeSpec rope;
  const auto parameters = config.find_object("rope_parameters");
  const auto scaling = parameters ? parameters : config.find_object("rope_scaling");
  rope.theta = parameters && parameters->has("rope_theta")
                   ? parameters->get_number("rope_theta")
                   : config.find_number("rope_theta").value_or(rope.theta);
  if (rope.theta <= 0) fail("{}: \"rope_theta\" must be above 0", config.origin());
  if (!scaling) return rope;

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
  rope.original_context = scaling->get_number("original_max_position_embeddings");
  if (rope.low_freq_factor <= 0 || rope.high_freq_factor <= rope.low_freq_factor ||
      rope.original_context <= 0) {
    fail(
        "{}: llama3 scaling needs 0 < low_freq_factor < high_freq_factor and a positive "
        "original_max_position_embeddings",
        scaling->origin());
  }
  return rope;
}

std::optional<std::int32_t> read_bos(const JsonObject& config) {
  if (!config.has("bos_token_id")) return std::nullopt;
  return token_id(config.json().at("bos_token_id"), config, "bos_token_id");
}

std::vector<std::int32_t> read_eos(const JsonObject& config) {
  if (!config.has("eos_token_id")) return {};
  const Json& value = config.json().at("eos_token_id");
  if (!value.is_array()) return {token_id(value, config, "eos_token_id")};
  std::vector<std::int32_t> ids;
  for (const Json& id : value) ids.push_back(token_id(id, config, "eos_token_id"));
  return ids;
}

}  // namespace nibble
