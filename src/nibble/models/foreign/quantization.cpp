#include "nibble/models/foreign/quantization.h"

#include <array>
#include <string_view>

#include "nibble/models/foreign/tools.h"

namespace nibble {
namespace {

struct Tool {
  std::string_view method;  // config.json's "quant_method"
  std::unique_ptr<const ForeignQuantization> (*read)(const JsonObject& config);
};

constexpr std::array kTools = {
    Tool{"awq", foreign::read_awq},
    Tool{"gptq", foreign::read_gptq},
    Tool{"compressed-tensors", foreign::read_compressed_tensors},
    Tool{"auto-round", foreign::read_auto_round},
    Tool{"intel/auto-round", foreign::read_auto_round},  // until 0.4
    Tool{"fp8", foreign::read_fp8},
    Tool{"fbgemm_fp8", foreign::read_fp8},
    Tool{"modelopt", foreign::read_modelopt},
};

}  // namespace

std::optional<ForeignRows> ForeignQuantization::find_rows(const TensorSource& /*source*/,
                                                          const std::string& /*origin*/,
                                                          const LinearSpec& /*module*/,
                                                          bool /*is_embedding*/) const {
  return std::nullopt;
}

std::unique_ptr<const ForeignQuantization> read_foreign_quantization(const JsonObject& config,
                                                                     const std::string& method) {
  for (const Tool& tool : kTools) {
    if (tool.method == method) return tool.read(config);
  }
  return nullptr;
}

}  // namespace nibble
