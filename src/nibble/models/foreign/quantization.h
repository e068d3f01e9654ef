// Quantized checkpoints of other tools, run as they are: AutoAWQ, GPTQ, auto-round,
// compressed-tensors and 8-bit floats, a file a tool. What is quantized is known by the tensors
// that a module has; config.json gives bits, groups and conventions (docs/checkpoints.md).
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "nibble/core/json.h"
#include "nibble/models/foreign/layer.h"
#include "nibble/models/model_spec.h"
#include "nibble/models/tensor_source.h"

namespace nibble {

class ForeignQuantization {
 public:
  virtual ~ForeignQuantization() = default;

  /// The layer's parts out of `source`; nothing if it is not quantized. Throws Error, opening with
  /// `origin`, for parts that are missing or have another dtype or shape than they must.
  virtual std::optional<ForeignLayer> find(const TensorSource& source, const std::string& origin,
                                           const LinearSpec& linear) const = 0;

  /// What is read row by row instead: the embedding (`is_embedding`, (vocab, width)) where it is
  /// quantized, and linear layers whose numbers are floats; nothing for others.
  virtual std::optional<ForeignRows> find_rows(const TensorSource& source,
                                               const std::string& origin, const LinearSpec& module,
                                               bool is_embedding) const;
};

/// From config.json's "quantization_config" or what stands in its place; null if `method`, its
/// "quant_method", is of none of those tools. Throws Error for versions, formats and numbers of
/// bits that are not supported, naming them.
std::unique_ptr<const ForeignQuantization> read_foreign_quantization(const JsonObject& config,
                                                                     const std::string& method);

}  // namespace nibble
