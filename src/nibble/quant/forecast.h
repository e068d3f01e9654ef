// What quantizing a model will make of it, told before any weight is touched.
#pragma once

#include <cstdint>
#include <vector>

#include "nibble/models/checkpoint.h"
#include "nibble/models/inspection.h"
#include "nibble/quant/plan.h"

namespace nibble {

struct QuantizeForecast {
  std::vector<StoredParameter> tensors;  // as inspect() will find them
  std::int64_t bytes_in = 0;             // of the source's tensors that will be read
  std::int64_t bytes_out = 0;            // of the tensors
  double bits_per_weight = 0;            // as QuantizeReport's
  double file_bits_per_parameter = 0;    // "
};

/// Throws Error as Checkpoint does for tensors that are missing or of another shape.
QuantizeForecast forecast_quantization(const Checkpoint& checkpoint, const QuantizePlan& plan);

/// Bits read for a token / weights read for a token, once `plan` is carried out.
double bits_per_weight(const ModelSpec& spec, const QuantizePlan& plan);

}  // namespace nibble
