// What quantizing keeps in memory, about, by the sizes of the model and the calibration.
#pragma once

#include <cstdint>

#include "nibble/quant/calibration/activations.h"
#include "nibble/quant/calibration/stream.h"
#include "nibble/quant/pipeline.h"

namespace nibble {

/// Bytes beyond what the process has.
struct MemoryCost {
  std::int64_t working = 0;      // all but the activations; the model's mapped file included
  std::int64_t activations = 0;  // of all calibration blocks, which may go to files
  std::int64_t learning = 0;     // afterwards, from end to end
};

MemoryCost memory_cost(const QuantizeJob& job, const CalibrationSize& size, int threads);

/// The activations' share of what `job` may take: what is working left of its max_memory, or of
/// three quarters of what is free. Files go to `folder`.
ActivationSpace activation_space(const QuantizeJob& job, const CalibrationSize& size, int threads,
                                 const std::filesystem::path& folder);
/// That share in bytes; 0 if there is none.
std::int64_t activation_memory(const QuantizeJob& job, const MemoryCost& cost);

}  // namespace nibble
