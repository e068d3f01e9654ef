#include "nibble/models/quantization_config.h"

#include <nlohmann/json.hpp>

#include "nibble/core/error.h"

namespace nibble {
namespace {

constexpr int kVersion = 1;

PackedGroup read_layout(const JsonObject& module, const LinearSpec& linear) {
  const PackedGroup layout{.bits = static_cast<int>(module.get_int("bits", 3, 4)),
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

}  // namespace

PackedLayouts read_quantization_config(const JsonObject& config, const ModelSpec& spec) {
  const std::string method = config.get_string("quant_method");
  if (method != "nibble") {
    fail("{}: \"quant_method\" \"{}\" is not supported; supported: nibble", config.origin(),
         method);
  }
  config.get_int("version", kVersion, kVersion);
  std::map<std::string, LinearSpec> known;
  for (LinearSpec& linear : spec.linears()) known.emplace(linear.name, linear);

  PackedLayouts layouts;
  const JsonObject modules = config.get_object("modules");
  for (const auto& item : modules.json().items()) {
    const auto linear = known.find(item.key());
    if (linear == known.end()) {
      fail("{}: \"{}\" is not a linear layer of this model", modules.origin(), item.key());
    }
    layouts.emplace(item.key(), read_layout(modules.get_object(item.key()), linear->second));
  }
  return layouts;
}

Json make_quantization_config(const PackedLayouts& layouts, const std::string& algorithm) {
  Json modules = Json::object();
  for (const auto& [name, layout] : layouts) {
    modules[name] = {{"bits", layout.bits}, {"group_size", layout.group_size}};
  }
  return {{"quant_method", "nibble"},
          {"version", kVersion},
          {"algorithm", algorithm},
          {"modules", std::move(modules)}};
}

// 4 bits: chunks of 8 columns in 64 bytes; 3 bits: chunks of 32 columns in 192 bytes.
std::vector<std::int64_t> packed_codes_shape(const PackedGroup& layout) {
  if (layout.bits == 4) return {layout.row_blocks(), layout.cols / 8, 64};
  return {layout.row_blocks(), layout.cols / 32, 192};
}

std::vector<std::int64_t> packed_scales_shape(const PackedGroup& layout) {
  return {layout.row_blocks(), layout.groups(), kRowBlock};
}

std::vector<std::int64_t> packed_zeros_shape(const PackedGroup& layout) {
  return {layout.row_blocks(), layout.groups(), 2 * layout.bits};
}

}  // namespace nibble
