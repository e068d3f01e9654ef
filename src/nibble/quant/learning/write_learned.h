// The tensors of a quantized checkpoint written again with what was learned.
#pragma once

#include "nibble/models/checkpoint.h"
#include "nibble/models/checkpoint_writer.h"
#include "nibble/quant/learning/distillation.h"

namespace nibble {

/// Writes the tensors of `contents`, which are those of `quantized`, with the scales and norms of
/// `learned` in place of its own. Throws Error if they cannot be written.
void write_learned(const Checkpoint& quantized, const FolderContents& contents,
                   Distillation& learned, CheckpointWriter& to);

}  // namespace nibble
