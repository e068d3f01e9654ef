// Letters of names and numbers that are ASCII. (Text is core/utf8.h's.)
#pragma once

#include <string>
#include <string_view>

namespace nibble {

/// `text` with A to Z as a to z, all else as it is.
std::string lower_case(std::string_view text);

}  // namespace nibble
