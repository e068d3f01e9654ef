#include "nibble/models/quantization_config.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <numeric>

#include "nibble/core/error.h"

namespace nibble {
namespace {

constexpr int kVersion = 2;
constexpr ActivationType kActivations[] = {ActivationType::kBF16, ActivationType::kInt8,
                                           ActivationType::kInt8Tensor};
constexpr int kW3Version = 2;  // since which 3 bits lie as they do; all else is as in version 1

PackedGroup read_group(const JsonObject& module, const LinearSpec& linear, int bits) {
  const PackedGroup layout{.bits = bits,
                           .group_size = static_cast<int>(module.get_int("group_size", 32, 128)),
                           .rows = linear.out,
                           .cols = linear.in};
  const int group_size = layout.group_size;
  if (group_size != 32 && group_size != 64 && group_size != 128) {
    fail("{}: \"group_size\" must be 32, 64 or 128, found {}", module.origin(), group_size);
  }
  if (linear.in % group_size != 0) {
    fail("{}: \"group_size\" {} does not divide the {} input features of this layer",
         module.origin(), group_size, linear.in);
  }
  return layout;
}

PackedLayout read_layout(const JsonObject& module, const LinearSpec& linear) {
  const auto bits = static_cast<int>(module.get_int("bits", 3, 8));
  if (bits == 3 || bits == 4) return read_group(module, linear, bits);
  if (bits != 8) fail("{}: \"bits\" must be 3, 4 or 8, found {}", module.origin(), bits);
  if (module.has("group_size")) {
    fail("{}: \"group_size\" does not go with 8 bits, which have one scale for each output channel",
         module.origin());
  }
  if (linear.in > kMaxInt8Cols) {
    fail("{}: 8 bits take up to {} input features, this layer has {}", module.origin(),
         kMaxInt8Cols, linear.in);
  }
  return Int8PerChannel{.rows = linear.out, .cols = linear.in};
}

// 4 bits: chunks of 8 columns in 64 bytes; 3 bits: chunks of 32 columns in 192 bytes.
std::vector<PackedPart> parts_of(const PackedGroup& layout) {
  const std::int64_t blocks = layout.row_blocks();
  const std::int64_t groups = layout.groups();
  const bool is_w4 = layout.bits == 4;
  return {{kCodesSuffix, DType::kU8, {blocks, layout.cols / (is_w4 ? 8 : 32), is_w4 ? 64 : 192}},
          {kScalesSuffix, DType::kBF16, {blocks, groups, kRowBlock}},
          {kZerosSuffix, DType::kU8, {blocks, groups, 2 * layout.bits}}};
}

std::vector<PackedPart> parts_of(const Int8PerChannel& layout) {
  return {{kCodesSuffix, DType::kU8, {layout.row_blocks(), layout.chunks(), 64}},
          {kScalesSuffix, DType::kF32, {layout.row_blocks(), kRowBlock}}};
}

}  // namespace

PackedLayouts read_quantization_config(const JsonObject& config, const ModelSpec& spec) {
  const std::string method = config.get_string("quant_method");
  if (method != "nibble") {
    fail(
        "{}: \"quant_method\" \"{}\" is not supported; supported: nibble, awq, gptq, "
        "compressed-tensors",
        config.origin(), method);
  }
  const std::int64_t version = config.get_int("version", 1, kVersion);
  std::map<std::string, LinearSpec> known;
  for (LinearSpec& linear : spec.linears()) known.emplace(linear.name, linear);

  PackedLayouts layouts;
  const JsonObject modules = config.get_object("modules");
  for (const auto& item : modules.json().items()) {
    const auto linear = known.find(item.key());
    if (linear == known.end()) {
      fail("{}: \"{}\" is not a linear layer of this model", modules.origin(), item.key());
    }
    const JsonObject module = modules.get_object(item.key());
    const PackedLayout layout = read_layout(module, linear->second);
    if (packed_bits(layout) == 3 && version < kW3Version) {
      fail(
          "{}: 3 bits of \"version\" {} lie otherwise than this program reads them (version {}): "
          "quantize the model again",
          module.origin(), version, kW3Version);
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
    modules[name] = {{"bits", packed_bits(layout)}};
    const int group_size = packed_group_size(layout);
    if (group_size > 0) modules[name]["group_size"] = group_size;
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

std::size_t PackedPart::block_bytes() const {
  return std::accumulate(
      shape.begin() + 1, shape.end(), static_cast<std::size_t>(dtype_layout(dtype).bytes),
      [](std::size_t bytes, std::int64_t size) { return bytes * static_cast<std::size_t>(size); });
}

std::vector<PackedPart> packed_parts(const PackedLayout& layout) {
  return std::visit([](const auto& format) { return parts_of(format); }, layout);
}

}  // namespace nibble
