// What quantizing will take, about: a little of the work is done, here and now, and multiplied.
#pragma once

#include <cstdint>

#include "nibble/quant/calibration/stream.h"
#include "nibble/quant/pipeline.h"

namespace nibble {

struct QuantizeCost {
  double seconds = 0;              // of computing; reading and writing files come on top
  std::int64_t memory_bytes = 0;   // the largest resident set, the model's mapped file included
  std::int64_t spilled_bytes = 0;  // of activations, in a file beside the output
};

/// `size`: of the calibration, whose text is not looked at. Reads a block of the model at the most.
/// Throws Error as quantize_model() does for the weights that are read.
QuantizeCost estimate_cost(const QuantizeJob& job, const CalibrationSize& size, Compute& compute);

}  // namespace nibble
