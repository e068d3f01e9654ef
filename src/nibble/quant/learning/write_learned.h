// The tensors of a quantized checkpoint written again with what was learned.
#pragma once

#include <filesystem>

#include "nibble/models/checkpoint.h"
#include "nibble/quant/learning/distillation.h"
#include "nibble/quant/plan.h"

namespace nibble {

/// Writes `file`: the tensors of `quantized`, a folder written by `plan`, in the same order, with
/// the scales and norms of `learned`. Throws Error if it cannot be written.
void write_learned(const Checkpoint& quantized, const QuantizePlan& plan, Distillation& learned,
                   const std::filesystem::path& file);

}  // namespace nibble
