// Where texts and questions lie.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace nibble {

/// The folder that $NIBBLE_DATA names, or nothing.
std::optional<std::filesystem::path> data_folder();

/// What a message says behind "$NIBBLE_DATA": its value, or that there is none.
std::string data_folder_state();

}  // namespace nibble
