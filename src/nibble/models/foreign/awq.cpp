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
      const std::string value = check_value(config, key, {"gemm", "gemv"});
      if (value == "gemv") layout_ = AwqLayout::kGemv;
    }
    if (config.find_string("backend") == "llm-awq") {
      fail("{}: \"backend\" \"llm-awq\" is not supported; supported: AutoAWQ's layouts",
           config.origin());
    }
    const char* bits = config.has("w_bit") ? "w_bit" : "bits";
    const char* group_size = config.has("q_group_size") ? "q_group_size" : "group_size";
    const std::int64_t found = config.get_int(bits, 1, 32);
    if (found != 4) fail("{}: \"{}\" of AWQ must be 4, found {}", config.origin(), bits, found);
    group_size_ = read_group_size(config, group_size);
  }

  std::optional<ForeignLayer> find(const TensorSource& source, const std::string& origin,
                                   const LinearSpec& linear) const override {
    ModuleParts parts(source, origin, linear);
    return find_awq(parts, layout_, group_size_);
  }

 private:
  AwqLayout layout_ = AwqLayout::kGemm;
  std::int64_t group_size_ = 0;  // 0: a whole row
};

}  // namespace

std::unique_ptr<const ForeignQuantization> read_awq(const JsonObject& config) {
  return std::make_unique<Awq>(config);
}

}  // namespace nibble::foreign
