// AutoAWQ, and gptqmodel's method "awq".
#include "nibble/core/error.h"
#include "nibble/models/foreign/awq_layer.h"
#include "nibble/models/foreign/config.h"
#include "nibble/models/foreign/tools.h"

namespace nibble::foreign {
namespace {

class Awq : public ForeignQuantization {
 public:
  explicit Awq(const JsonObject& config) {
    for (const char* key : {"version", "format", "checkpoint_format"}) {
      // The last two are kernels that read the first's files.
      const std::string value = check_value(config, key, {"gemm", "gemv", "exllama", "ipex"});
      if (value == "gemv") scheme_.layout = AwqLayout::kGemv;
    }
    if (config.find_string("backend") == "llm-awq") {
      fail("{}: \"backend\" \"llm-awq\" is not supported; supported: AutoAWQ's layouts",
           config.origin());
    }
    const char* bits = config.has("w_bit") ? "w_bit" : "bits";
    const char* group_size = config.has("q_group_size") ? "q_group_size" : "group_size";
    const std::int64_t found = config.has(bits) ? config.get_int(bits, 1, 32) : 4;
    const bool is_gemm = scheme_.layout == AwqLayout::kGemm;
    if (found != 4 && !(found == 8 && is_gemm)) {
      fail("{}: \"{}\" of AWQ must be {}, found {}", config.origin(), bits,
           is_gemm ? "4 or 8" : "4 in the layout \"gemv\"", found);
    }
    scheme_.bits = static_cast<int>(found);
    scheme_.group_size = read_group_size(config, group_size);
  }

  std::optional<ForeignLayer> find(const TensorSource& source, const std::string& origin,
                                   const LinearSpec& linear) const override {
    ModuleParts parts(source, origin, linear);
    return find_awq(parts, scheme_);
  }

 private:
  AwqScheme scheme_;
};

}  // namespace

std::unique_ptr<const ForeignQuantization> read_awq(const JsonObject& config) {
  return std::make_unique<Awq>(config);
}

}  // namespace nibble::foreign
