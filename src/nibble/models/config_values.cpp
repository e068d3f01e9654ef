#include "nibble/models/config_values.h"

#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "nibble/core/error.h"
#include "nibble/core/log.h"

namespace nibble {
namespace {

constexpr std::array<std::pair<std::string_view, Activation>, 7> kActivationNames = {{
    {"silu", Activation::kSilu},
    {"swish", Activation::kSilu},
    {"gelu", Activation::kGelu},
    {"gelu_pytorch_tanh", Activation::kGeluTanh},
    {"gelu_new", Activation::kGeluTanh},
    {"gelu_fast", Activation::kGeluTanh},
    {"relu", Activation::kRelu},
}};

constexpr std::string_view kSliding = "sliding_attention";
constexpr std::string_view kFull = "full_attention";

/// Whether layer `layer` is one of "layer_types" that slides.
bool slides(const JsonObject& config, std::int64_t layer) {
  const Json& types = config.json().at("layer_types");
  const Json& type = types[static_cast<std::size_t>(layer)];
  if (type == kSliding) return true;
  if (type == kFull) return false;
  fail("{}: \"layer_types\" must hold \"{}\" and \"{}\", found {} for layer {}", config.origin(),
       kFull, kSliding, type.dump(), layer);
}

void check_layer_types(const JsonObject& config, std::int64_t n_layers) {
  const Json& types = config.json().at("layer_types");
  if (!types.is_array() || types.size() != static_cast<std::size_t>(n_layers)) {
    fail("{}: \"layer_types\" must be a list of \"num_hidden_layers\" = {} names, found {}",
         config.origin(), n_layers,
         types.is_array() ? fmt::format("{} of them", types.size())
                          : std::string(types.type_name()));
  }
}

}  // namespace

std::int64_t read_size(const JsonObject& config, const char* key, std::int64_t hi,
                       std::int64_t fallback) {
  if (config.json().contains(key)) return config.get_int(key, 1, hi);
  warn("{}: \"{}\" is not said: {} is taken, as in transformers", config.origin(), key, fallback);
  return fallback;
}

Activation read_activation(const JsonObject& config, std::string_view key,
                           std::string_view fallback) {
  const std::string name = config.find_string(key).value_or(std::string(fallback));
  std::string known;
  for (const auto& [known_name, activation] : kActivationNames) {
    if (name == known_name) return activation;
    known += fmt::format("{}\"{}\"", known.empty() ? "" : ", ", known_name);
  }
  fail("{}: \"{}\" must be one of {}, found \"{}\"", config.origin(), key, known, name);
}

std::vector<std::int64_t> read_layer_windows(const JsonObject& config, std::int64_t n_layers) {
  const bool typed = config.has("layer_types");
  if (typed) check_layer_types(config, n_layers);
  const bool used = config.get_bool("use_sliding_window", false);
  const bool is_null =
      config.json().contains("sliding_window") && !config.has("sliding_window");  // none, then
  const std::int64_t window =
      used && !is_null ? config.get_int("sliding_window", 1, kMaxContext, 4096) : 0;
  const std::int64_t first = config.get_int("max_window_layers", 0, kMaxLayers, 28);
  std::vector<std::int64_t> windows;
  for (std::int64_t layer = 0; layer < n_layers; ++layer) {
    const bool sliding = typed ? slides(config, layer) : layer >= first;
    if (typed && sliding && window == 0) {
      fail("{}: \"layer_types\" has layers with \"{}\", but there is no \"sliding_window\" in use",
           config.origin(), kSliding);
    }
    windows.push_back(sliding ? window : 0);
  }
  return window > 0 ? windows : std::vector<std::int64_t>();
}

}  // namespace nibble
