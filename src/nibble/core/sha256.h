// SHA-256 (FIPS 180-4), for telling whether bytes are those that they were.
#pragma once

#include <string>
#include <string_view>

namespace nibble {

/// 64 hexadecimal digits.
std::string sha256_hex(std::string_view bytes);

}  // namespace nibble
