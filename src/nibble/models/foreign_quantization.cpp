#include "nibble/models/foreign_quantization.h"

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>

#include "nibble/core/error.h"
#include "nibble/core/log.h"
#include "nibble/tokenizer/regex.h"

namespace nibble {
namespace {

constexpr std::int64_t kMaxGroup = 1 << 30;

std::int64_t ceil_divide(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

/// "group_size": -1 stands for a whole row, 0 here.
std::int64_t read_group_size(const JsonObject& config, const char* key) {
  const std::int64_t size = config.get_int(key, -1, kMaxGroup);
  if (size == 0) fail("{}: \"{}\" must be -1 or more than 0, found 0", config.origin(), key);
  return size < 0 ? 0 : size;
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

/// Fails unless `key` is absent or one of `supported`.
void check_value(const JsonObject& config, const char* key,
                 std::initializer_list<std::string_view> supported) {
  std::string value = config.find_string(key).value_or(std::string(*supported.begin()));
  std::transform(value.begin(), value.end(), value.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (std::find(supported.begin(), supported.end(), value) != supported.end()) return;
  std::string list;
  for (const std::string_view name : supported)
    list += (list.empty() ? "" : ", ") + std::string(name);
  fail("{}: \"{}\" \"{}\" is not supported; supported: {}", config.origin(), key, value, list);
}

}  // namespace

/// The tensors of one module, checked as they are asked for.
class ForeignQuantization::Parts {
 public:
  Parts(const TensorSource& source, const std::string& origin, const LinearSpec& linear)
      : source_(source), origin_(origin), linear_(linear) {}

  const LinearSpec& linear() const { return linear_; }
  std::vector<std::string> take_names() { return std::move(names_); }

  std::optional<TensorView> find(const char* suffix) const {
    const auto found = source_.find(linear_.name + suffix);
    if (!found) return std::nullopt;
    return found->view;
  }

  /// A part of one of the dtypes, of any shape.
  TensorView part(const char* suffix, std::initializer_list<DType> dtypes) {
    const std::string name = linear_.name + suffix;
    const auto found = source_.find(name);
    if (!found) fail("{}: tensor \"{}\" is missing", origin_, name);
    const DType dtype = found->view.dtype;
    if (std::find(dtypes.begin(), dtypes.end(), dtype) == dtypes.end()) {
      std::string list;
      for (const DType one : dtypes) {
        list += (list.empty() ? "" : " or ") + std::string(dtype_name(one));
      }
      fail("{}: tensor \"{}\" has dtype {}, expected {}", origin_, name, dtype_name(dtype), list);
    }
    names_.push_back(name);
    return found->view;
  }

  /// The same with two dimensions.
  TensorView matrix(const char* suffix, std::initializer_list<DType> dtypes) {
    TensorView view = part(suffix, dtypes);
    if (view.shape.size() != 2) {
      fail("{}: tensor \"{}{}\" has shape {}, expected two dimensions", origin_, linear_.name,
           suffix, shape_to_string(view.shape));
    }
    return view;
  }

  TensorView shaped(const char* suffix, std::initializer_list<DType> dtypes,
                    const std::vector<std::int64_t>& shape) {
    TensorView view = part(suffix, dtypes);
    if (view.shape != shape) refuse_shape(suffix, view, shape);
    return view;
  }

  [[noreturn]] void refuse_shape(const char* suffix, const TensorView& view,
                                 const std::vector<std::int64_t>& expected) const {
    fail("{}: tensor \"{}{}\" has shape {}, expected {}", origin_, linear_.name, suffix,
         shape_to_string(view.shape), shape_to_string(expected));
  }
  template <typename... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    fail("{}: module \"{}\": {}", origin_, linear_.name,
         fmt::format(format, std::forward<Args>(args)...));
  }

  /// Symmetric layers may have zero points, but of 0 only.
  void refuse_zeros(const char* suffix) const {
    const auto zeros = find(suffix);
    if (!zeros) return;
    const std::span<const std::byte> bytes(zeros->data, zeros->bytes);
    if (std::any_of(bytes.begin(), bytes.end(),
                    [](std::byte byte) { return byte != std::byte{}; })) {
      refuse("\"{}\" holds numbers other than 0, expected none where \"symmetric\" is true",
             suffix + 1);
    }
  }

  /// The group of each column: neighbours of `group_size` (0: all) share one.
  std::vector<std::int32_t> group_of(std::int64_t group_size) const {
    std::vector<std::int32_t> out(static_cast<std::size_t>(linear_.in));
    if (group_size == 0) return out;
    for (std::size_t c = 0; c < out.size(); ++c) {
      out[c] = static_cast<std::int32_t>(static_cast<std::int64_t>(c) / group_size);
    }
    return out;
  }

  /// The same as the tensor `suffix` says, where the module has one. compressed-tensors writes -1
  /// into it where it means nothing.
  std::vector<std::int32_t> group_of(const char* suffix, std::int64_t group_size,
                                     std::int64_t groups) {
    if (!find(suffix)) return group_of(group_size);
    std::vector<std::int32_t> out(static_cast<std::size_t>(linear_.in));
    const TensorView index = shaped(suffix, {DType::kI32}, {linear_.in});
    std::memcpy(out.data(), index.data, out.size() * sizeof(std::int32_t));
    if (std::all_of(out.begin(), out.end(), [](std::int32_t group) { return group == -1; })) {
      return group_of(group_size);
    }
    for (const std::int32_t group : out) {
      if (group < 0 || group >= groups) {
        refuse("\"{}\" names group {}, there are {}", suffix + 1, group, groups);
      }
    }
    return out;
  }

 private:
  const TensorSource& source_;
  const std::string& origin_;
  const LinearSpec& linear_;
  std::vector<std::string> names_;
};

bool ForeignQuantization::knows(const std::string& method) {
  return method == "awq" || method == "gptq" || method == "compressed-tensors";
}

ForeignQuantization::ForeignQuantization(const JsonObject& config) : origin_(config.origin()) {
  const std::string method = config.get_string("quant_method");
  if (method == "awq") {
    read_awq(config);
  } else if (method == "gptq") {
    read_gptq(config);
  } else {
    read_compressed_tensors(config);
  }
}

void ForeignQuantization::read_awq(const JsonObject& config) {
  method_ = Method::kAwq;
  check_value(config, "version", {"gemm"});
  check_value(config, "format", {"gemm"});
  if (config.find_string("backend") == "llm-awq") {
    fail("{}: \"backend\" \"llm-awq\" is not supported; supported: AutoAWQ's \"gemm\" layout",
         origin_);
  }
  const char* bits = config.has("w_bit") ? "w_bit" : "bits";
  const char* group_size = config.has("q_group_size") ? "q_group_size" : "group_size";
  const std::int64_t found = config.get_int(bits, 1, 32);
  if (found != 4) fail("{}: \"{}\" of AWQ must be 4, found {}", origin_, bits, found);
  schemes_ = {{.bits = 4, .group_size = read_group_size(config, group_size)}};
}

void ForeignQuantization::read_gptq(const JsonObject& config) {
  method_ = Method::kGptq;
  check_value(config, "checkpoint_format", {"gptq", "gptq_v2"});
  check_value(config, "format", {"gptq", "gptq_v2"});
  check_value(config, "pack_dtype", {"int32"});
  if (config.get_bool("is_marlin_format", false)) {
    fail("{}: \"is_marlin_format\" is not supported; supported: GPTQ's own layout", origin_);
  }
  gptq_v2_ = config.find_string("checkpoint_format") == "gptq_v2" ||
             config.find_string("format") == "gptq_v2";
  per_module_ = config.find_object("dynamic").has_value();
  const auto bits = static_cast<int>(config.get_int("bits", 2, 8));
  if (bits != 2 && bits != 3 && bits != 4 && bits != 8) {
    fail("{}: \"bits\" must be 2, 3, 4 or 8, found {}", origin_, bits);
  }
  schemes_ = {{.bits = bits, .group_size = read_group_size(config, "group_size")}};
}

ForeignQuantization::Scheme ForeignQuantization::read_scheme(const JsonObject& group) const {
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

void ForeignQuantization::read_compressed_tensors(const JsonObject& config) {
  method_ = Method::kCompressedTensors;
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

/// As compressed-tensors decides: a module's name, a pattern that its name begins with, the class
/// of all linear layers, in this order.
const ForeignQuantization::Scheme& ForeignQuantization::scheme_of(const std::string& module) const {
  const Scheme* by_class = nullptr;
  const Scheme* by_pattern = nullptr;
  for (const Scheme& scheme : schemes_) {
    for (const std::string& target : scheme.targets) {
      if (target == module) return scheme;
      if (target == "Linear" && by_class == nullptr) by_class = &scheme;
      if (!target.starts_with("re:") || by_pattern != nullptr) continue;
      const auto match = tokenizers::Regex(target.substr(3), origin_).find(module, 0);
      if (match && match->begin == 0) by_pattern = &scheme;
    }
  }
  const Scheme* found = by_pattern != nullptr ? by_pattern : by_class;
  if (found == nullptr && schemes_.size() > 1) {
    fail("{}: no entry of \"config_groups\" is for the quantized module \"{}\"", origin_, module);
  }
  return found != nullptr ? *found : schemes_.front();
}

std::optional<ForeignLayer> ForeignQuantization::find(const TensorSource& source,
                                                      const std::string& origin,
                                                      const LinearSpec& linear) const {
  Parts parts(source, origin, linear);
  const bool compressed = method_ == Method::kCompressedTensors;
  const auto weight = parts.find(".weight");
  const bool is_int8 = compressed && weight && weight->dtype == DType::kI8;
  if (!parts.find(compressed ? ".weight_packed" : ".qweight") && !is_int8) return std::nullopt;
  ForeignLayer layer = compressed                ? find_compressed(parts)
                       : method_ == Method::kAwq ? find_awq(parts)
                                                 : find_gptq(parts);
  layer.matrix.rows = linear.out;
  layer.matrix.cols = linear.in;
  layer.tensors = parts.take_names();
  return layer;
}

ForeignLayer ForeignQuantization::find_awq(Parts& parts) const {
  const LinearSpec& linear = parts.linear();
  const std::int64_t group_size = schemes_[0].group_size;
  const std::int64_t groups = group_size == 0 ? 1 : ceil_divide(linear.in, group_size);
  if (linear.out % 8 != 0) parts.refuse("{} outputs, AWQ needs a multiple of 8", linear.out);
  if (group_size > 0 && linear.in % group_size != 0) {
    parts.refuse("{} inputs, AWQ needs a multiple of \"group_size\", {}", linear.in, group_size);
  }
  ForeignLayer layer{.format = "awq w4", .group_size = static_cast<int>(group_size)};
  IntegerMatrix& matrix = layer.matrix;
  matrix.codes = IntegerMatrix::Codes::kAwq;
  matrix.zeros = IntegerMatrix::Zeros::kAwq;
  matrix.groups = groups;
  matrix.code_tensor = parts.shaped(".qweight", {DType::kI32}, {linear.in, linear.out / 8});
  matrix.zero_tensor = parts.shaped(".qzeros", {DType::kI32}, {groups, linear.out / 8});
  matrix.scale_tensor =
      parts.shaped(".scales", {DType::kF16, DType::kBF16, DType::kF32}, {groups, linear.out});
  matrix.group_of = parts.group_of(group_size);
  return layer;
}

ForeignLayer ForeignQuantization::find_gptq(Parts& parts) const {
  const LinearSpec& linear = parts.linear();
  int bits = schemes_[0].bits;
  std::int64_t group_size = schemes_[0].group_size;
  const TensorView codes = parts.matrix(".qweight", {DType::kI32});
  const TensorView scales = parts.matrix(".scales", {DType::kF16, DType::kBF16, DType::kF32});
  if (per_module_) {  // "dynamic" overrides them by pattern; the tensors say what came of it
    const std::int64_t bits_here = codes.shape[0] * 32 / std::max<std::int64_t>(linear.in, 1);
    if (bits_here == 2 || bits_here == 3 || bits_here == 4 || bits_here == 8) {
      bits = static_cast<int>(bits_here);
    }
    if (scales.shape[0] > 0 && linear.in % scales.shape[0] == 0) {
      group_size = linear.in / scales.shape[0];
    }
  }
  const std::int64_t groups = group_size == 0 ? 1 : ceil_divide(linear.in, group_size);
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
  matrix.zeros = gptq_v2_ ? IntegerMatrix::Zeros::kGptq : IntegerMatrix::Zeros::kGptqV1;
  matrix.bits = bits;
  matrix.groups = groups;
  matrix.code_tensor = codes;
  matrix.scale_tensor = scales;
  matrix.zero_tensor = parts.shaped(".qzeros", {DType::kI32}, {groups, linear.out * bits / 32});
  matrix.group_of = parts.group_of(".g_idx", group_size, groups);
  return layer;
}

ForeignLayer ForeignQuantization::find_compressed(Parts& parts) const {
  const LinearSpec& linear = parts.linear();
  const Scheme& scheme = scheme_of(linear.name);
  const std::int64_t groups =
      scheme.group_size == 0 ? 1 : ceil_divide(linear.in, scheme.group_size);
  ForeignLayer layer{.format = fmt::format("ct w{}", scheme.bits),
                     .group_size = static_cast<int>(scheme.group_size)};
  IntegerMatrix& matrix = layer.matrix;
  matrix.bits = scheme.bits;
  matrix.groups = groups;
  matrix.scales_by_group = false;
  if (parts.find(".weight_packed")) {
    matrix.codes = IntegerMatrix::Codes::kRows;
    matrix.code_tensor = parts.matrix(".weight_packed", {DType::kI32});
    // A stream since compressed-tensors 0.12; before, whole values in each word.
    const std::vector<std::int64_t> stream = {linear.out, ceil_divide(linear.in * scheme.bits, 32)};
    const std::vector<std::int64_t> whole = {linear.out, ceil_divide(linear.in, 32 / scheme.bits)};
    if (matrix.code_tensor.shape == whole) {
      matrix.values_per_word = whole == stream ? 0 : 32 / scheme.bits;
    } else if (matrix.code_tensor.shape != stream) {
      parts.refuse_shape(".weight_packed", matrix.code_tensor, stream);
    }
    if (parts.find(".weight_shape")) parts.part(".weight_shape", {DType::kI64, DType::kI32});
  } else {
    matrix.codes = IntegerMatrix::Codes::kBytes;
    matrix.bits = 8;  // whatever their range, they are bytes
    matrix.code_tensor = parts.shaped(".weight", {DType::kI8}, {linear.out, linear.in});
  }
  matrix.scale_tensor =
      parts.shaped(".weight_scale", {DType::kF16, DType::kBF16, DType::kF32}, {linear.out, groups});
  if (scheme.symmetric) {
    parts.refuse_zeros(".weight_zero_point");
  } else {
    find_compressed_zeros(parts, scheme.bits, matrix);
  }
  matrix.group_of = parts.group_of(".weight_g_idx", scheme.group_size, groups);
  return layer;
}

/// Packed down the rows as integers from 0 up, or as signed bytes.
void ForeignQuantization::find_compressed_zeros(Parts& parts, int bits, IntegerMatrix& matrix) {
  constexpr const char* kSuffix = ".weight_zero_point";
  const LinearSpec& linear = parts.linear();
  const bool are_bytes = matrix.codes == IntegerMatrix::Codes::kBytes;
  TensorView zeros = are_bytes ? parts.part(kSuffix, {DType::kI8})
                               : parts.part(kSuffix, {DType::kI32, DType::kI8});
  const bool packed = zeros.dtype == DType::kI32;
  const std::vector<std::int64_t> shape = {packed ? ceil_divide(linear.out * bits, 32) : linear.out,
                                           matrix.groups};
  if (zeros.shape != shape) parts.refuse_shape(kSuffix, zeros, shape);
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

}  // namespace nibble
