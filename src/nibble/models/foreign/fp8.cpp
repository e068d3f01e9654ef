// 8-bit floats that are turned into floats at load, exactly but for --dtype, as several tools write
// them. transformers' "fp8": a scale a block of 128 x 128 as a rule, in weight_scale_inv, by which
// the numbers are multiplied; gptqmodel's means by the same name that they are divided by it, and
// says so in "weight_scale_semantics". "fbgemm_fp8" and AutoFP8: one a row or tensor, in
// weight_scale. NVIDIA's modelopt: the same, or one a block (vLLM, quantization/modelopt.py).
#include <nlohmann/json.hpp>

#include "nibble/core/error.h"
#include "nibble/models/foreign/config.h"
#include "nibble/models/foreign/row_sources.h"
#include "nibble/models/foreign/tools.h"

namespace nibble::foreign {
namespace {

class Float8 : public ForeignQuantization {
 public:
  explicit Float8(const Float8Scheme& scheme) : scheme_(scheme) {}

  std::optional<ForeignLayer> find(const TensorSource& /*source*/, const std::string& /*origin*/,
                                   const LinearSpec& /*linear*/) const override {
    return std::nullopt;
  }

  std::optional<ForeignRows> find_rows(const TensorSource& source, const std::string& origin,
                                       const LinearSpec& module,
                                       bool /*is_embedding*/) const override {
    ModuleParts parts(source, origin, module);
    const char* scale = parts.find(".weight_scale_inv") ? ".weight_scale_inv" : ".weight_scale";
    const auto matrix = find_float8(parts, scale, scheme_);
    if (!matrix) return std::nullopt;
    return float8_rows(*matrix, parts.take_names());
  }

 private:
  Float8Scheme scheme_;
};

}  // namespace

std::unique_ptr<const ForeignQuantization> read_fp8(const JsonObject& config) {
  check_value(config, "fmt", {"e4m3", "e5m2", "float8_e4m3fn", "float8_e5m2"});
  check_value(config, "format", {"float8_e4m3fn", "float8_e5m2", "fp8"});
  Float8Scheme scheme;
  if (config.has("weight_block_size")) scheme.block = read_block(config, "weight_block_size");
  scheme.divides = config.has("weight_scale_semantics") &&
                   check_value(config, "weight_scale_semantics", {"inverse"}) == "inverse";
  return std::make_unique<Float8>(scheme);
}

std::unique_ptr<const ForeignQuantization> read_modelopt(const JsonObject& config) {
  // hf_quant_config.json keeps it an object deeper than config.json.
  const JsonObject settings = config.find_object("quantization").value_or(config);
  if (!settings.has("quant_algo")) {
    fail("{}: \"quant_algo\" is missing, which says how modelopt quantized", settings.origin());
  }
  check_value(settings, "quant_algo", {"fp8", "fp8_per_channel_per_token", "fp8_pb_wo"});
  return std::make_unique<Float8>(Float8Scheme{});
}

}  // namespace nibble::foreign
