// compressed-tensors (llm-compressor): integers packed in words or as bytes, and 8-bit floats.
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "nibble/core/error.h"
#include "nibble/core/log.h"
#include "nibble/core/regex.h"
#include "nibble/models/foreign/config.h"
#include "nibble/models/foreign/module_parts.h"
#include "nibble/models/foreign/row_sources.h"
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
  int bits = 8;
  std::int64_t group_size = 0;  // 0: a whole row
  bool one_scale = false;       // for the whole tensor
  bool symmetric = true;
  bool is_float = false;
  std::pair<std::int64_t, std::int64_t> block = {128, 128};  // of floats: rows, columns of a scale
};

/// Where it is not said, it follows from the group size (compressed-tensors, quant_args.py).
std::string read_strategy(const JsonObject& weights, bool is_float) {
  if (!weights.has("strategy") && weights.has("group_size")) {
    return weights.get_int("group_size", -1, INT32_MAX) > 0 ? "group" : "channel";
  }
  if (is_float) return check_value(weights, "strategy", {"tensor", "channel", "group", "block"});
  return check_value(weights, "strategy", {"tensor", "channel", "group"});
}

Scheme read_scheme(const JsonObject& group, const JsonObject& weights) {
  check_value(group, "format",
              {"pack-quantized", "int-quantized", "naive-quantized", "float-quantized"});
  Scheme scheme{.targets = strings_of(group, "targets")};
  scheme.is_float = check_value(weights, "type", {"int", "float"}) == "float";
  if (weights.has("num_bits")) scheme.bits = static_cast<int>(weights.get_int("num_bits", 2, 8));
  scheme.symmetric = weights.get_bool("symmetric", true);
  const std::string strategy = read_strategy(weights, scheme.is_float);
  scheme.one_scale = strategy == "tensor";
  if (strategy == "group") scheme.group_size = read_group_size(weights, "group_size");
  if (!scheme.is_float) return scheme;
  if (scheme.bits != 8) {
    fail("{}: \"num_bits\" of floats must be 8, found {}", weights.origin(), scheme.bits);
  }
  if (weights.has("block_structure")) scheme.block = read_block(weights, "block_structure");
  if (scheme.group_size > 0) scheme.block = {1, scheme.group_size};
  return scheme;
}

/// Rotations and the like that are in the weights already are none of ours; others would have to be
/// computed. `config`: "transform_config".
void check_transforms(const JsonObject& config) {
  const auto groups = config.find_object("config_groups");
  if (!groups) return;
  for (const auto& item : groups->json().items()) {
    const JsonObject group = groups->get_object(item.key());
    if (!group.has("apply") || !group.json().at("apply").is_array()) {
      fail("{}: \"apply\" must be a list of objects", group.origin());
    }
    for (const Json& json : group.json().at("apply")) {
      const std::string location = JsonObject(json, group.origin()).get_string("location");
      if (location == "weight_input" || location == "weight_output") continue;
      fail(
          "{}: a transform at \"{}\" is not supported: it changes activations as they are computed",
          group.origin(), location);
    }
  }
}

/// What `targets` calls a module by.
enum class ModuleClass { kLinear, kEmbedding };

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
  const bool one = matrix.scale_row_step == 0 && !packed && zeros.elements() == 1;
  if (zeros.shape != shape && !one) parts.refuse_shape(kZeroPoint, zeros, shape);
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
                {"pack-quantized", "int-quantized", "naive-quantized", "float-quantized",
                 "mixed-precision"});
    if (const auto sparsity = config.find_object("sparsity_config")) {
      check_value(*sparsity, "format", {"dense"});
    }
    if (const auto transform = config.find_object("transform_config")) check_transforms(*transform);
    if (config.has("kv_cache_scheme")) {
      warn("{}: \"kv_cache_scheme\" is left out: keys and values are kept as --kv says", origin_);
    }
    const JsonObject groups = config.get_object("config_groups");
    for (const auto& item : groups.json().items()) {
      const JsonObject group = groups.get_object(item.key());
      // One without weights is of activations, or of keys and values.
      if (const auto weights = group.find_object("weights")) {
        schemes_.push_back(read_scheme(group, *weights));
      }
    }
    if (schemes_.empty()) fail("{}: \"config_groups\" has none for weights", origin_);
  }

  std::optional<ForeignLayer> find(const TensorSource& source, const std::string& origin,
                                   const LinearSpec& linear) const override {
    ModuleParts parts(source, origin, linear);
    return find_integers(parts, ModuleClass::kLinear);
  }

  std::optional<ForeignRows> find_rows(const TensorSource& source, const std::string& origin,
                                       const LinearSpec& module, bool is_embedding) const override {
    ModuleParts parts(source, origin, module);
    const auto weight = parts.find(".weight");
    if (weight && is_float8(weight->dtype)) {
      const auto kind = is_embedding ? ModuleClass::kEmbedding : ModuleClass::kLinear;
      const auto matrix =
          find_float8(parts, ".weight_scale", {.block = scheme_of(module.name, kind).block});
      return float8_rows(*matrix, parts.take_names());
    }
    if (!is_embedding) return std::nullopt;
    auto layer = find_integers(parts, ModuleClass::kEmbedding);
    if (!layer) return std::nullopt;
    return integer_rows(*std::move(layer), make_integer_rows(layer->matrix));
  }

 private:
  std::optional<ForeignLayer> find_integers(ModuleParts& parts, ModuleClass module_class) const {
    const LinearSpec& linear = parts.linear();
    const auto weight = parts.find(".weight");
    const bool is_packed = parts.find(".weight_packed").has_value();
    if (!is_packed && !(weight && weight->dtype == DType::kI8)) return std::nullopt;
    const Scheme& scheme = scheme_of(linear.name, module_class);
    ForeignLayer layer{.format = fmt::format("ct w{}", scheme.bits),
                       .group_size = static_cast<int>(scheme.group_size)};
    IntegerMatrix& matrix = layer.matrix;
    matrix.bits = scheme.bits;
    matrix.rows = linear.out;
    matrix.cols = linear.in;
    matrix.groups = count_groups(linear.in, scheme.group_size);
    matrix.scale_row_step = scheme.one_scale ? 0 : matrix.groups;
    matrix.scale_group_step = scheme.one_scale ? 0 : 1;
    if (is_packed) {
      find_packed_codes(parts, matrix);
    } else {
      matrix.codes = IntegerMatrix::Codes::kBytes;
      matrix.bits = 8;  // whatever their range, they are bytes
      matrix.code_tensor = parts.shaped(".weight", {DType::kI8}, {linear.out, linear.in});
    }
    matrix.scale_tensor = find_scale(parts, scheme, matrix.groups);
    if (scheme.symmetric) {
      parts.refuse_zeros(kZeroPoint);
    } else {
      find_zeros(parts, scheme.bits, matrix);
    }
    matrix.group_of = parts.group_of(".weight_g_idx", scheme.group_size, matrix.groups);
    layer.tensors = parts.take_names();
    return layer;
  }

  static TensorView find_scale(ModuleParts& parts, const Scheme& scheme, std::int64_t groups) {
    constexpr const char* kScale = ".weight_scale";
    const auto dtypes = {DType::kF16, DType::kBF16, DType::kF32};
    if (!scheme.one_scale) return parts.shaped(kScale, dtypes, {parts.linear().out, groups});
    TensorView scale = parts.part(kScale, dtypes);
    if (scale.elements() != 1) parts.refuse_shape(kScale, scale, {1});
    return scale;
  }

  /// As compressed-tensors decides (utils/match.py): a module's name, the pattern first in the
  /// alphabet of those that its name begins with, its class, in this order.
  const Scheme& scheme_of(const std::string& module, ModuleClass module_class) const {
    const char* class_name = module_class == ModuleClass::kLinear ? "Linear" : "Embedding";
    const Scheme* by_class = nullptr;
    const Scheme* by_pattern = nullptr;
    const std::string* pattern = nullptr;
    for (const Scheme& scheme : schemes_) {
      for (const std::string& target : scheme.targets) {
        if (target == module) return scheme;
        if (target == class_name && by_class == nullptr) by_class = &scheme;
        if (!target.starts_with("re:") || (pattern != nullptr && *pattern <= target)) continue;
        const auto match = Regex(target.substr(3), origin_).find(module, 0);
        if (!match || match->begin != 0) continue;
        by_pattern = &scheme;
        pattern = &target;
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
