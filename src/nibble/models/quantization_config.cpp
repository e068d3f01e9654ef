#include "nibble/models/quantization_config.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <vector>

#include "nibble/core/error.h"

namespace nibble {
namespace {

constexpr int kVersion = 2;
constexpr ActivationType kActivations[] = {ActivationType::kBF16, ActivationType::kInt8,
                                           ActivationType::kInt8Tensor};

/// "32, 64 or 128", the least first.
template <typename Numbers>
std::string alternatives(const Numbers& numbers) {
  std::string text;
  for (auto number = numbers.begin(); number != numbers.end(); ++number) {
    if (!text.empty()) text += number + 1 == numbers.end() ? " or " : ", ";
    text += std::to_string(*number);
  }
  return text;
}

int read_group_size(const JsonObject& module, const WeightCodec& codec, const LinearSpec& linear) {
  const auto group_size = static_cast<int>(
      module.get_int("group_size", codec.group_sizes.back(), codec.group_sizes.front()));
  const std::vector<int> sizes(codec.group_sizes.rbegin(), codec.group_sizes.rend());
  if (std::find(sizes.begin(), sizes.end(), group_size) == sizes.end()) {
    fail("{}: \"group_size\" must be {}, found {}", module.origin(), alternatives(sizes),
         group_size);
  }
  if (linear.in % group_size != 0) {
    fail("{}: \"group_size\" {} does not divide the {} input features of this layer",
         module.origin(), group_size, linear.in);
  }
  return group_size;
}

const WeightCodec& read_codec(const JsonObject& module) {
  std::vector<int> bits;
  for (const WeightCodec* codec : checkpoint_codecs()) bits.push_back(codec->bits);
  const auto found = static_cast<int>(module.get_int("bits", bits.front(), bits.back()));
  const WeightCodec* codec = find_checkpoint_codec(found);
  if (codec == nullptr) {
    fail("{}: \"bits\" must be {}, found {}", module.origin(), alternatives(bits), found);
  }
  return *codec;
}

WeightLayout read_layout(const JsonObject& module, const LinearSpec& linear) {
  const WeightCodec& codec = read_codec(module);
  WeightLayout layout{.format = codec.format, .rows = linear.out, .cols = linear.in};
  if (codec.has_groups()) {
    layout.group_size = read_group_size(module, codec, linear);
  } else if (module.has("group_size")) {
    fail(
        "{}: \"group_size\" does not go with {} bits, which have one scale for each output channel",
        module.origin(), codec.bits);
  }
  if (codec.max_cols > 0 && linear.in > codec.max_cols) {
    fail("{}: {} bits take up to {} input features, this layer has {}", module.origin(), codec.bits,
         codec.max_cols, linear.in);
  }
  return layout;
}

}  // namespace

PackedLayouts read_quantization_config(const JsonObject& config, const ModelSpec& spec) {
  const std::string method = config.get_string("quant_method");
  if (method != "nibble") {
    fail(
        "{}: \"quant_method\" \"{}\" is not supported; supported: nibble, awq, gptq, auto-round, "
        "compressed-tensors, fp8, modelopt",
        config.origin(), method);
  }
  const std::int64_t version = config.get_int("version", 1, kVersion);
  std::map<std::string, LinearSpec> known;
  for (LinearSpec& linear : spec.linears()) known.emplace(linear.name, linear);
  known.emplace(spec.embedding, spec.embedding_matrix());

  PackedLayouts layouts;
  const JsonObject modules = config.get_object("modules");
  for (const auto& item : modules.json().items()) {
    const auto linear = known.find(item.key());
    if (linear == known.end()) {
      fail("{}: \"{}\" is not a linear layer or embedding of this model", modules.origin(),
           item.key());
    }
    const JsonObject module = modules.get_object(item.key());
    const WeightLayout layout = read_layout(module, linear->second);
    const WeightCodec& codec = codec_of(layout.format);
    if (version < codec.since_version) {
      fail(
          "{}: {} bits of \"version\" {} lie otherwise than this program reads them (version {}): "
          "quantize the model again",
          module.origin(), codec.bits, version, codec.since_version);
    }
    layouts.emplace(item.key(), layout);
  }
  return layouts;
}

LayerActivations read_layer_activations(const JsonObject& config) {
  LayerActivations activations;
  const JsonObject modules = config.get_object("modules");
  for (const auto& item : modules.json().items()) {
    const JsonObject module = modules.get_object(item.key());
    const auto name = module.find_string("activations");
    if (!name) continue;
    const auto* const type =
        std::find_if(std::begin(kActivations), std::end(kActivations),
                     [&](ActivationType known) { return *name == activation_type_name(known); });
    if (type == std::end(kActivations)) {
      fail("{}: \"activations\" must be \"bf16\", \"int8\" or \"int8_tensor\", found \"{}\"",
           module.origin(), *name);
    }
    activations.emplace(item.key(), *type);
  }
  return activations;
}

Json make_quantization_config(const PackedLayouts& layouts, const LayerActivations& activations,
                              const std::string& algorithm) {
  Json modules = Json::object();
  for (const auto& [name, layout] : layouts) {
    modules[name] = {{"bits", codec_of(layout.format).bits}};
    if (layout.group_size > 0) modules[name]["group_size"] = layout.group_size;
    const auto rounded = activations.find(name);
    if (rounded != activations.end()) {
      modules[name]["activations"] = activation_type_name(rounded->second);
    }
  }
  return {{"quant_method", "nibble"},
          {"version", kVersion},
          {"algorithm", algorithm},
          {"modules", std::move(modules)}};
}

}  // namespace nibble
