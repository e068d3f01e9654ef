// The files that this folder's tests use.
#pragma once

#include <filesystem>

#include "nibble/runtime/model.h"
#include "paths.h"

namespace nibble {

inline const std::filesystem::path kStories = testing::data_file("stories260K");
inline constexpr ComputeOptions kF32{.activations = ActivationType::kF32, .kv = KvType::kF32};

}  // namespace nibble
