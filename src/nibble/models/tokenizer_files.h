// The files of a model's folder beside its config and weights.
#pragma once

#include <filesystem>

#include "nibble/models/checkpoint.h"

namespace nibble {

/// Copies generation_config.json, the tokenizer's files and chat templates, those that there are,
/// from one folder to another.
void copy_tokenizer_files(const std::filesystem::path& from, const std::filesystem::path& to);

/// The same from a checkpoint of any kind: a GGUF file's tokenizer is written as files.
void write_tokenizer_files(const Checkpoint& checkpoint, const std::filesystem::path& folder);

}  // namespace nibble
