// GPTQ, as AutoGPTQ, gptqmodel and optimum write it.
#include <charconv>
#include <nlohmann/json.hpp>
#include <string>

#include "nibble/core/error.h"
#include "nibble/models/foreign/config.h"
#include "nibble/models/foreign/gptq_layer.h"
#include "nibble/models/foreign/row_sources.h"
#include "nibble/models/foreign/tools.h"

namespace nibble::foreign {
namespace {

/// The first number of the version in "meta": {"quantizer": ["gptqmodel:2.2.0"]}; 0: another tool,
/// or none named.
int gptqmodel_version(const JsonObject& config) {
  const auto meta = config.find_object("meta");
  if (!meta || !meta->has("quantizer")) return 0;
  const Json& quantizer = meta->json().at("quantizer");
  const Json list = quantizer.is_array() ? quantizer : Json::array({quantizer});
  constexpr std::string_view kName = "gptqmodel:";
  for (const Json& entry : list) {
    const std::string text = entry.is_string() ? entry.get<std::string>() : "";
    if (!text.starts_with(kName)) continue;
    int version = 0;
    std::from_chars(text.data() + kName.size(), text.data() + text.size(), version);
    return version;
  }
  return 0;
}

class Gptq : public ForeignQuantization {
 public:
  explicit Gptq(const JsonObject& config) {
    check_value(config, "checkpoint_format", {"gptq", "gptq_v2", "gptq_p"});
    check_value(config, "format", {"gptq", "gptq_v2", "gptq_p"});
    check_value(config, "pack_dtype", {"int32"});
    refuse_setting(config, "rotation");  // gptqmodel's rotates inputs of down_proj as they come
    if (config.get_bool("is_marlin_format", false)) {
      fail("{}: \"is_marlin_format\" is not supported; supported: GPTQ's own layout",
           config.origin());
    }
    const auto is = [&](const char* format) {
      return config.find_string("checkpoint_format") == format ||
             config.find_string("format") == format;
    };
    scheme_.v2 = is("gptq_v2");
    scheme_.planar = is("gptq_p");
    scheme_.by_words = gptqmodel_version(config) > 0 && gptqmodel_version(config) < 7;
    scheme_.per_module = config.find_object("dynamic").has_value();
    scheme_.symmetric = config.get_bool("sym", false);
    scheme_.bits = static_cast<int>(config.get_int("bits", 2, 8));
    scheme_.group_size = read_group_size(config, "group_size");
  }

  std::optional<ForeignLayer> find(const TensorSource& source, const std::string& origin,
                                   const LinearSpec& linear) const override {
    ModuleParts parts(source, origin, linear);
    return find_gptq(parts, scheme_, "gptq");
  }

  std::optional<ForeignRows> find_rows(const TensorSource& source, const std::string& origin,
                                       const LinearSpec& module, bool is_embedding) const override {
    if (!is_embedding) return std::nullopt;
    // gptqmodel packs the table as a layer that multiplies tokens: (width, vocab).
    const LinearSpec layer{.name = module.name, .out = module.in, .in = module.out};
    ModuleParts parts(source, origin, layer);
    auto found = find_gptq(parts, scheme_, "gptq");
    if (!found) return std::nullopt;
    return integer_rows(*std::move(found), make_column_rows(found->matrix));
  }

 private:
  GptqScheme scheme_;
};

}  // namespace

std::unique_ptr<const ForeignQuantization> read_gptq(const JsonObject& config) {
  return std::make_unique<Gptq>(config);
}

}  // namespace nibble::foreign
