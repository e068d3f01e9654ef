// What `nibble quantize` reports of the model that it wrote: quantization_report.json in the
// checkpoint, and the worst tensors for people.
#pragma once

#include "nibble/core/json.h"
#include "nibble/quant/pipeline.h"
#include "nibble/quant/quality.h"

namespace nibble::cli {

/// Blocks of each text that are looked at, at the most.
inline constexpr std::int64_t kHeldOutBlocks = 8;

/// Some of the blocks that were calibrated on, and of those that would have come next.
QualityTexts quality_texts(const std::vector<std::vector<std::int32_t>>& calibration,
                           const std::vector<std::vector<std::int32_t>>& longer);

/// {"tensors": by error, the largest first, "blocks", "kl_divergence", "top1_agreement", "tokens"}.
Json quality_json(const QuantizeReport& report, const Quality& quality);

/// The tensors that rounding changed most, and what became of predictions.
void print_quality(const QuantizeReport& report, const Quality& quality);

}  // namespace nibble::cli
