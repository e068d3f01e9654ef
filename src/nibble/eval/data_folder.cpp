#include "nibble/eval/data_folder.h"

#include <fmt/core.h>

#include <cstdlib>

namespace nibble {
namespace {

constexpr const char kVariable[] = "NIBBLE_DATA";

}  // namespace

std::optional<std::filesystem::path> data_folder() {
  const char* folder = std::getenv(kVariable);
  if (folder == nullptr || *folder == '\0') return std::nullopt;
  return folder;
}

std::string data_folder_state() {
  const char* folder = std::getenv(kVariable);
  return folder == nullptr ? ", which is not set" : fmt::format(" = {}", folder);
}

}  // namespace nibble
