// Small text files in which the kernel describes the machine and this process.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace nibble {

/// The first line, "" where there is no such file.
std::string first_line(const std::filesystem::path& path);

/// The number in the first line that begins with `key` and blanks; nothing where there is none.
std::optional<std::int64_t> find_number(const std::filesystem::path& path, std::string_view key);

}  // namespace nibble
