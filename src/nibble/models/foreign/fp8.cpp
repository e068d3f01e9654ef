// 8-bit floats as transformers writes them ("fp8": one scale a block of 128 x 128 as a rule, in
// weight_scale_inv, by which the numbers are multiplied; "fbgemm_fp8": one a row, in weight_scale).
// They are turned into floats at load, exactly but for --dtype.
#include "nibble/models/foreign/config.h"
#include "nibble/models/foreign/row_sources.h"
#include "nibble/models/foreign/tools.h"

namespace nibble::foreign {
namespace {

class Fp8 : public ForeignQuantization {
 public:
  explicit Fp8(const JsonObject& config) : block_(read_block(config, "weight_block_size")) {
    check_value(config, "fmt", {"e4m3", "e5m2"});
  }

  std::optional<ForeignLayer> find(const TensorSource& /*source*/, const std::string& /*origin*/,
                                   const LinearSpec& /*linear*/) const override {
    return std::nullopt;
  }

  std::optional<ForeignRows> find_rows(const TensorSource& source, const std::string& origin,
                                       const LinearSpec& module,
                                       bool /*is_embedding*/) const override {
    ModuleParts parts(source, origin, module);
    const char* scale = parts.find(".weight_scale_inv") ? ".weight_scale_inv" : ".weight_scale";
    const auto matrix = find_float8(parts, scale, block_);
    if (!matrix) return std::nullopt;
    return ForeignRows{make_float8_rows(*matrix), matrix->weight};
  }

 private:
  std::pair<std::int64_t, std::int64_t> block_;
};

}  // namespace

std::unique_ptr<const ForeignQuantization> read_fp8(const JsonObject& config) {
  return std::make_unique<Fp8>(config);
}

}  // namespace nibble::foreign
