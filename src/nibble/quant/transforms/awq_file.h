// AWQ's searches as files: our own, a safetensors file (docs/formats.md), and what llm-awq saves
// (the .pt files of the public AWQ model zoo), whose pickle is read as data.
#pragma once

#include <filesystem>

#include "nibble/quant/transforms/awq.h"

namespace nibble {

/// Writes what was searched in a model of this spec.
void write_awq_search(const std::filesystem::path& path, const ModelSpec& spec,
                      const AwqSearch& search);

/// Reads either kind. Throws Error naming the file and what in it does not fit the model: a module
/// or a group that it does not have, a wrong number of scales or bounds, numbers that are not
/// finite.
AwqSearch read_awq_search(const std::filesystem::path& path, const ModelSpec& spec);

}  // namespace nibble
