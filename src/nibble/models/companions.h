// The small files beside a checkpoint's weights.
#pragma once

#include <filesystem>

#include "nibble/models/checkpoint.h"

namespace nibble {

/// Copies generation_config.json, the tokenizer's files and chat templates, those that there are,
/// from one folder to another.
void copy_companions(const std::filesystem::path& from, const std::filesystem::path& to);

/// The same for a checkpoint of any kind: a GGUF file's tokenizer is written as files.
void write_companions(const Checkpoint& checkpoint, const std::filesystem::path& folder);

}  // namespace nibble
