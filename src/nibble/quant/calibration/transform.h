// Transforms rewrite a decoder block in floats before it is rounded: what it computes stays the
// same, and what rounding does to it becomes less. AWQ and SmoothQuant move scales from activations
// into weights; AWQ clips them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "nibble/models/block.h"
#include "nibble/ops/compute.h"
#include "nibble/quant/calibration/stream.h"
#include "nibble/quant/plan.h"
#include "nibble/quant/tensor_writer.h"

namespace nibble {

struct TransformContext {
  Compute& compute;
  const ModelSpec& spec;
  const QuantizePlan& plan;
  std::int64_t layer;
  /// The samples at the block's input in the model that is not quantized; null for transforms that
  /// need none. They are to be there again when apply() returns, or, if `moves_on`, behind the
  /// block as it was.
  CalibrationStream* stream;
  bool moves_on;
  /// To be rewritten: a layer's weight is dense and may be replaced by one in memory of its own;
  /// norms and biases are changed in place.
  DecoderBlock& block;
  /// Norms and biases that were changed, under the checkpoint's names and in its terms (the
  /// weight of a norm less spec.norm.weight_offset): they are written in place of its own.
  RewrittenParameters& rewritten;
};

class Transform {
 public:
  virtual ~Transform() = default;
  virtual bool needs_samples() const = 0;
  virtual void apply(const TransformContext& context) const = 0;
};

}  // namespace nibble
