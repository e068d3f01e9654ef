// GPTQ's layout, as AutoGPTQ and gptqmodel write it: qweight, qzeros, scales and g_idx of 2, 3, 4
// or 8 bits.
#include <algorithm>

#include "nibble/core/error.h"
#include "nibble/models/foreign/config.h"
#include "nibble/models/foreign/module_parts.h"
#include "nibble/models/foreign/tools.h"

namespace nibble::foreign {
namespace {

bool is_gptq_width(std::int64_t bits) {
  return bits == 2 || bits == 3 || bits == 4 || bits == 8;
}

class Gptq : public ForeignQuantization {
 public:
  explicit Gptq(const JsonObject& config) {
    check_value(config, "checkpoint_format", {"gptq", "gptq_v2"});
    check_value(config, "format", {"gptq", "gptq_v2"});
    check_value(config, "pack_dtype", {"int32"});
    if (config.get_bool("is_marlin_format", false)) {
      fail("{}: \"is_marlin_format\" is not supported; supported: GPTQ's own layout",
           config.origin());
    }
    v2_ = config.find_string("checkpoint_format") == "gptq_v2" ||
          config.find_string("format") == "gptq_v2";
    per_module_ = config.find_object("dynamic").has_value();
    width_.bits = static_cast<int>(config.get_int("bits", 2, 8));
    if (!is_gptq_width(width_.bits)) {
      fail("{}: \"bits\" must be 2, 3, 4 or 8, found {}", config.origin(), width_.bits);
    }
    width_.group_size = read_group_size(config, "group_size");
  }

  std::optional<ForeignLayer> find(const TensorSource& source, const std::string& origin,
                                   const LinearSpec& linear) const override {
    ModuleParts parts(source, origin, linear);
    if (!parts.find(".qweight")) return std::nullopt;
    const TensorView codes = parts.matrix(".qweight", {DType::kI32});
    const TensorView scales = parts.matrix(".scales", {DType::kF16, DType::kBF16, DType::kF32});
    const auto [bits, group_size] = width_of(linear, codes, scales);
    const std::int64_t groups = count_groups(linear.in, group_size);
    if (linear.in * bits % 32 != 0 || linear.out * bits % 32 != 0) {
      parts.refuse("{} x {} weights of {} bits do not fill 32-bit words", linear.out, linear.in,
                   bits);
    }
    const std::vector<std::int64_t> code_shape = {linear.in * bits / 32, linear.out};
    const std::vector<std::int64_t> scale_shape = {groups, linear.out};
    if (codes.shape != code_shape) parts.refuse_shape(".qweight", codes, code_shape);
    if (scales.shape != scale_shape) parts.refuse_shape(".scales", scales, scale_shape);
    ForeignLayer layer{.format = fmt::format("gptq w{}", bits),
                       .group_size = static_cast<int>(group_size)};
    IntegerMatrix& matrix = layer.matrix;
    matrix.codes = IntegerMatrix::Codes::kGptq;
    matrix.zeros = v2_ ? IntegerMatrix::Zeros::kGptq : IntegerMatrix::Zeros::kGptqV1;
    matrix.bits = bits;
    matrix.rows = linear.out;
    matrix.cols = linear.in;
    matrix.groups = groups;
    matrix.code_tensor = codes;
    matrix.scale_tensor = scales;
    matrix.zero_tensor = parts.shaped(".qzeros", {DType::kI32}, {groups, linear.out * bits / 32});
    matrix.group_of = parts.group_of(".g_idx", group_size, groups);
    layer.tensors = parts.take_names();
    return layer;
  }

 private:
  struct Width {
    int bits = 0;
    std::int64_t group_size = 0;  // 0: a whole row
  };

  /// "dynamic" overrides them by pattern; the tensors say what came of it.
  Width width_of(const LinearSpec& linear, const TensorView& codes,
                 const TensorView& scales) const {
    if (!per_module_) return width_;
    Width width = width_;
    const std::int64_t bits = codes.shape[0] * 32 / std::max<std::int64_t>(linear.in, 1);
    if (is_gptq_width(bits)) width.bits = static_cast<int>(bits);
    if (scales.shape[0] > 0 && linear.in % scales.shape[0] == 0) {
      width.group_size = linear.in / scales.shape[0];
    }
    return width;
  }

  Width width_;
  bool v2_ = false;          // zero points as they are, not less 1
  bool per_module_ = false;  // bits and groups may differ from module to module
};

}  // namespace

std::unique_ptr<const ForeignQuantization> read_gptq(const JsonObject& config) {
  return std::make_unique<Gptq>(config);
}

}  // namespace nibble::foreign
