// auto-round's own format (https://github.com/intel/auto-round, export_to_autoround): layers in
// GPTQ's or AWQ's layout, "packing_format" says which. "extra_config" gives some modules other bits
// or groups, or none; that is seen from their tensors.
#include "nibble/core/error.h"
#include "nibble/models/foreign/awq_layer.h"
#include "nibble/models/foreign/config.h"
#include "nibble/models/foreign/gptq_layer.h"
#include "nibble/models/foreign/tools.h"

namespace nibble::foreign {
namespace {

class AutoRound : public ForeignQuantization {
 public:
  explicit AutoRound(const JsonObject& config) {
    check_value(config, "data_type", {"int"});
    if (config.find_int("act_bits").value_or(16) < 16) refuse_setting(config, "act_bits");
    refuse_setting(config, "transform_config");
    refuse_setting(config, "rotation_config");
    // Until 0.4 the key was "backend".
    const char* key = config.has("packing_format") ? "packing_format" : "backend";
    const std::string packing =
        check_value(config, key,
                    {"auto_round:auto_gptq", "auto", "auto_round", "auto_round:gptqmodel",
                     "auto_round:gptq", "auto_round:auto_awq", "auto_round:awq",
                     "auto_round:exllamav2", "auto_round:tritonv2", "auto_round:triton"});
    is_awq_ = packing.ends_with("awq");
    scheme_.v2 =
        !packing.ends_with(":auto_gptq") && !packing.ends_with(":gptq") && packing != "auto";
    scheme_.per_module = true;
    scheme_.symmetric = config.get_bool("sym", true);
    scheme_.bits = config.has("bits") ? static_cast<int>(config.get_int("bits", 2, 8)) : 4;
    scheme_.group_size = read_group_size(config, "group_size");
    if (is_awq_ && scheme_.bits != 4) {
      fail("{}: \"bits\" must be 4 in AWQ's layout, found {}", config.origin(), scheme_.bits);
    }
  }

  std::optional<ForeignLayer> find(const TensorSource& source, const std::string& origin,
                                   const LinearSpec& linear) const override {
    ModuleParts parts(source, origin, linear);
    if (is_awq_) return find_awq(parts, {.group_size = scheme_.group_size});
    return find_gptq(parts, scheme_, "auto-round");
  }

 private:
  bool is_awq_ = false;
  GptqScheme scheme_;
};

}  // namespace

std::unique_ptr<const ForeignQuantization> read_auto_round(const JsonObject& config) {
  return std::make_unique<AutoRound>(config);
}

}  // namespace nibble::foreign
