// Text files that may be gzipped (RFC 1952).
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

namespace nibble {

/// The whole of a small text file; of one that begins as gzip's do, what is in it. Throws Error if
/// it cannot be read, is damaged, or has more than `limit` bytes of text.
std::string read_text_or_gzip(const std::filesystem::path& path,
                              std::size_t limit = std::size_t{1} << 30);

}  // namespace nibble
