// The files of a folder that say how it was quantized.
#pragma once

#include <filesystem>

namespace nibble {

inline constexpr const char* kRecipeFile = "recipe.json";
inline constexpr const char* kQualityFile = "quantization_report.json";

/// Copies those that there are. Throws Error if one cannot be.
void copy_recipe_files(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace nibble
