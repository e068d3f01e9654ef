// compressed-tensors (llm-compressor) with integer weights: packed in words, or as bytes.
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "nibble/core/error.h"
#include "nibble/core/log.h"
#include "nibble/core/regex.h"
#include "nibble/models/foreign/config.h"
#include "nibble/models/foreign/module_parts.h"
#include "nibble/models/foreign/tools.h"

namespace nibble::foreign {
namespace {

constexpr const char* kZeroPoint = ".weight_zero_point";

std::int64_t ceil_divide(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

std::vector<std::string> strings_of(const JsonObject& object, const char* key) {
  std::vector<std::string> out;
  if (!object.has(key)) return out;
  const Json& list = object.json().at(key);
  if (!list.is_array()) fail("{}: \"{}\" must be a list of strings", object.origin(), key);
  for (const Json& item : list) {
    if (!item.is_string()) fail("{}: \"{}\" must be a list of strings", object.origin(), key);
    out.push_back(item.get<std::string>());
  }
  return out;
}

/// One of "config_groups".
struct Scheme {
  std::vector<std::string> targets;  // module names, "re:" and a pattern, or a class
  int bits = 0;
  std::int64_t group_size = 0;  // 0: a whole row
  bool symmetric = true;
};

Scheme read_scheme(const JsonObject& group) {
  const JsonObject weights = group.get_object("weights");
  check_value(group, "format", {"pack-quantized", "int-quantized", "naive-quantized"});
  check_value(weights, "type", {"int"});
  check_value(weights, "strategy", {"channel", "group"});
  Scheme scheme{.targets = strings_of(group, "targets")};
  scheme.bits = static_cast<int>(weights.get_int("num_bits", 2, 8));
  scheme.symmetric = weights.get_bool("symmetric", true);
  if (weights.get_string("strategy") == "group") {
    scheme.group_size = read_group_size(weights, "group_size");
  }
  return scheme;
}

void find_packed_codes(ModuleParts& parts, IntegerMatrix& matrix) {
  const LinearSpec& linear = parts.linear();
  matrix.codes = IntegerMatrix::Codes::kRows;
  matrix.code_tensor = parts.matrix(".weight_packed", {DType::kI32});
  // A stream since compressed-tensors 0.12; before, whole values in each word.
  const std::vector<std::int64_t> stream = {linear.out, ceil_divide(linear.in * matrix.bits, 32)};
  const std::vector<std::int64_t> whole = {linear.out, ceil_divide(linear.in, 32 / matrix.bits)};
  if (matrix.code_tensor.shape == whole) {
    matrix.values_per_word = whole == stream ? 0 : 32 / matrix.bits;
  } else if (matrix.code_tensor.shape != stream) {
    parts.refuse_shape(".weight_packed", matrix.code_tensor, stream);
  }
  if (parts.find(".weight_shape")) parts.part(".weight_shape", {DType::kI64, DType::kI32});
}

/// Packed down the rows as integers from 0 up, or as signed bytes.
void find_zeros(ModuleParts& parts, int bits, IntegerMatrix& matrix) {
  const LinearSpec& linear = parts.linear();
  const bool are_bytes = matrix.codes == IntegerMatrix::Codes::kBytes;
  TensorView zeros = are_bytes ? parts.part(kZeroPoint, {DType::kI8})
                               : parts.part(kZeroPoint, {DType::kI32, DType::kI8});
  const bool packed = zeros.dtype == DType::kI32;
  const std::vector<std::int64_t> shape = {packed ? ceil_divide(linear.out * bits, 32) : linear.out,
                                           matrix.groups};
  if (zeros.shape != shape) parts.refuse_shape(kZeroPoint, zeros, shape);
  matrix.zeros = packed ? IntegerMatrix::Zeros::kRows : IntegerMatrix::Zeros::kBytes;
  matrix.zero_tensor = zeros;
  if (packed) return;
  const int limit = 1 << (matrix.bits - 1);
  for (std::size_t i = 0; i < zeros.bytes; ++i) {
    const int zero = static_cast<std::int8_t>(zeros.data[i]);
    if (zero < -limit || zero >= limit) {
      parts.refuse("a zero point of {}, expected {} to {}", zero, -limit, limit - 1);
    }
  }
}

class CompressedTensors : public ForeignQuantization {
 public:
  explicit CompressedTensors(const JsonObject& config) : origin_(config.origin()) {
    check_value(config, "format",
                {"pack-quantized", "int-quantized", "naive-quantized", "mixed-precision"});
    if (const auto sparsity = config.find_object("sparsity_config")) {
      check_value(*sparsity, "format", {"dense"});
    }
    if (const auto transform = config.find_object("transform_config");
        transform && !transform->json().empty() && transform->json().contains("config_groups") &&
        !transform->json().at("config_groups").empty()) {
      fail("{}: \"transform_config\" is not supported: it changes activations as they are computed",
           origin_);
    }
    if (config.has("kv_cache_scheme")) {
      warn("{}: \"kv_cache_scheme\" is left out: keys and values are kept as --kv says", origin_);
    }
    const JsonObject groups = config.get_object("config_groups");
    for (const auto& item : groups.json().items()) {
      schemes_.push_back(read_scheme(groups.get_object(item.key())));
    }
    if (schemes_.empty()) fail("{}: \"config_groups\" is empty", origin_);
  }

  std::optional<ForeignLayer> find(const TensorSource& source, const std::string& origin,
                                   const LinearSpec& linear) const override {
    ModuleParts parts(source, origin, linear);
    const auto weight = parts.find(".weight");
    const bool is_packed = parts.find(".weight_packed").has_value();
    if (!is_packed && !(weight && weight->dtype == DType::kI8)) return std::nullopt;
    const Scheme& scheme = scheme_of(linear.name);
    ForeignLayer layer{.format = fmt::format("ct w{}", scheme.bits),
                       .group_size = static_cast<int>(scheme.group_size)};
    IntegerMatrix& matrix = layer.matrix;
    matrix.bits = scheme.bits;
    matrix.rows = linear.out;
    matrix.cols = linear.in;
    matrix.groups = count_groups(linear.in, scheme.group_size);
    matrix.scales_by_group = false;
    if (is_packed) {
      find_packed_codes(parts, matrix);
    } else {
      matrix.codes = IntegerMatrix::Codes::kBytes;
      matrix.bits = 8;  // whatever their range, they are bytes
      matrix.code_tensor = parts.shaped(".weight", {DType::kI8}, {linear.out, linear.in});
    }
    matrix.scale_tensor = parts.shaped(".weight_scale", {DType::kF16, DType::kBF16, DType::kF32},
                                       {linear.out, matrix.groups});
    if (scheme.symmetric) {
      parts.refuse_zeros(kZeroPoint);
    } else {
      find_zeros(parts, scheme.bits, matrix);
    }
    matrix.group_of = parts.group_of(".weight_g_idx", scheme.group_size, matrix.groups);
    layer.tensors = parts.take_names();
    return layer;
  }

 private:
  /// As compressed-tensors decides: a module's name, a pattern that its name begins with, the class
  /// of all linear layers, in this order.
  const Scheme& scheme_of(const std::string& module) const {
    const Scheme* by_class = nullptr;
    const Scheme* by_pattern = nullptr;
    for (const Scheme& scheme : schemes_) {
      for (const std::string& target : scheme.targets) {
        if (target == module) return scheme;
        if (target == "Linear" && by_class == nullptr) by_class = &scheme;
        if (!target.starts_with("re:") || by_pattern != nullptr) continue;
        const auto match = Regex(target.substr(3), origin_).find(module, 0);
        if (match && match->begin == 0) by_pattern = &scheme;
      }
    }
    const Scheme* found = by_pattern != nullptr ? by_pattern : by_class;
    if (found == nullptr && schemes_.size() > 1) {
      fail("{}: no entry of \"config_groups\" is for the quantized module \"{}\"", origin_, module);
    }
    return found != nullptr ? *found : schemes_.front();
  }

  std::string origin_;  // of the config
  std::vector<Scheme> schemes_;
};

}  // namespace

std::unique_ptr<const ForeignQuantization> read_compressed_tensors(const JsonObject& config) {
  return std::make_unique<CompressedTensors>(config);
}

}  // namespace nibble::foreign
