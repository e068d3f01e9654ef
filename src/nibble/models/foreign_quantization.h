// Quantized checkpoints of other tools, run as they are: AutoAWQ (GEMM layout), GPTQ and
// compressed-tensors with integer weights. What is quantized is known by the tensors that a module
// has; config.json gives bits, groups and conventions (docs/checkpoints.md).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "nibble/core/json.h"
#include "nibble/models/model_spec.h"
#include "nibble/models/tensor_source.h"
#include "nibble/weights/integer_matrix.h"

namespace nibble {

/// A linear layer as another tool stored it.
struct ForeignLayer {
  std::string format;                // "awq w4", for people
  int group_size = 0;                // columns; 0: a whole row
  IntegerMatrix matrix;              // (out, in)
  std::vector<std::string> tensors;  // the names of its parts
};

class ForeignQuantization {
 public:
  /// Whether `method`, config.json's "quant_method", is one of those read here.
  static bool knows(const std::string& method);

  /// Reads "quantization_config". Throws Error for versions, formats and numbers of bits that are
  /// not supported, naming them.
  explicit ForeignQuantization(const JsonObject& config);

  /// The layer's parts out of `source`; nothing if it is not quantized. Throws Error, opening with
  /// `origin`, for parts that are missing or have another dtype or shape than they must.
  std::optional<ForeignLayer> find(const TensorSource& source, const std::string& origin,
                                   const LinearSpec& linear) const;

 private:
  enum class Method { kAwq, kGptq, kCompressedTensors };
  /// One of compressed-tensors' "config_groups", or what all of a GPTQ or AWQ checkpoint has.
  struct Scheme {
    std::vector<std::string> targets;  // module names, "re:" and a pattern, or a class
    int bits = 0;
    std::int64_t group_size = 0;  // 0: a whole row
    bool symmetric = true;
  };
  class Parts;

  void read_awq(const JsonObject& config);
  void read_gptq(const JsonObject& config);
  void read_compressed_tensors(const JsonObject& config);
  Scheme read_scheme(const JsonObject& group) const;
  const Scheme& scheme_of(const std::string& module) const;

  ForeignLayer find_awq(Parts& parts) const;
  ForeignLayer find_gptq(Parts& parts) const;
  ForeignLayer find_compressed(Parts& parts) const;
  static void find_compressed_zeros(Parts& parts, int bits, IntegerMatrix& matrix);

  std::string origin_;  // of the config
  Method method_ = Method::kAwq;
  std::vector<Scheme> schemes_;
  bool gptq_v2_ = false;     // zero points as they are, not less 1
  bool per_module_ = false;  // GPTQ: bits and groups may differ from module to module
};

}  // namespace nibble
