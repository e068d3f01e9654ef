// AutoAWQ's GEMM layout: qweight, qzeros and scales of 4 bits, eight rows in a word.
#include "nibble/core/error.h"
#include "nibble/models/foreign/config.h"
#include "nibble/models/foreign/module_parts.h"
#include "nibble/models/foreign/tools.h"

namespace nibble::foreign {
namespace {

class Awq : public ForeignQuantization {
 public:
  explicit Awq(const JsonObject& config) {
    check_value(config, "version", {"gemm"});
    check_value(config, "format", {"gemm"});
    if (config.find_string("backend") == "llm-awq") {
      fail("{}: \"backend\" \"llm-awq\" is not supported; supported: AutoAWQ's \"gemm\" layout",
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
    if (!parts.find(".qweight")) return std::nullopt;
    check_size(parts);
    const std::int64_t groups = count_groups(linear.in, group_size_);
    ForeignLayer layer{.format = "awq w4", .group_size = static_cast<int>(group_size_)};
    IntegerMatrix& matrix = layer.matrix;
    matrix.codes = IntegerMatrix::Codes::kAwq;
    matrix.zeros = IntegerMatrix::Zeros::kAwq;
    matrix.rows = linear.out;
    matrix.cols = linear.in;
    matrix.groups = groups;
    matrix.code_tensor = parts.shaped(".qweight", {DType::kI32}, {linear.in, linear.out / 8});
    matrix.zero_tensor = parts.shaped(".qzeros", {DType::kI32}, {groups, linear.out / 8});
    matrix.scale_tensor =
        parts.shaped(".scales", {DType::kF16, DType::kBF16, DType::kF32}, {groups, linear.out});
    matrix.group_of = parts.group_of(group_size_);
    layer.tensors = parts.take_names();
    return layer;
  }

 private:
  void check_size(const ModuleParts& parts) const {
    const LinearSpec& linear = parts.linear();
    if (linear.out % 8 != 0) parts.refuse("{} outputs, AWQ needs a multiple of 8", linear.out);
    if (group_size_ > 0 && linear.in % group_size_ != 0) {
      parts.refuse("{} inputs, AWQ needs a multiple of \"group_size\", {}", linear.in, group_size_);
    }
  }

  std::int64_t group_size_ = 0;  // 0: a whole row
};

}  // namespace

std::unique_ptr<const ForeignQuantization> read_awq(const JsonObject& config) {
  return std::make_unique<Awq>(config);
}

}  // namespace nibble::foreign
