#include "nibble/models/recipe_files.h"

#include <system_error>

#include "nibble/core/error.h"
#include "nibble/core/mapped_file.h"

namespace nibble {

void copy_recipe_files(const std::filesystem::path& from, const std::filesystem::path& to) {
  for (const char* name : {kRecipeFile, kQualityFile}) {
    if (!file_exists(from / name)) continue;
    std::error_code error;
    std::filesystem::copy_file(from / name, to / name, error);
    if (error) fail("{}: cannot be copied: {}", (from / name).string(), error.message());
  }
}

}  // namespace nibble
