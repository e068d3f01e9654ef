// What the exports that write a Hugging Face folder have in common.
#pragma once

#include <filesystem>

#include "nibble/convert/export.h"
#include "nibble/convert/parameter_reader.h"
#include "nibble/core/json.h"

namespace nibble {

/// The source's config.json for a folder of dense tensors of `dtype`: no "quantization_config", a
/// head of its own where it is a packed copy, a GGUF file's RoPE factors as llama3 scaling where
/// they are that.
Json export_config(const Checkpoint& checkpoint, DType dtype);

/// Writes generation_config.json and the tokenizer's files, and what says how the source was
/// quantized.
void write_exported_files(const Checkpoint& checkpoint, CheckpointWriter& writer);

/// Numbers as they are, rounded to `dtype` (kF32, kF16 or kBF16).
RoundingError encode_dense(DType dtype, const ParameterRow& row, std::byte* out);

}  // namespace nibble
