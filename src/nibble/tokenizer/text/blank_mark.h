// How SentencePiece and its likes write a blank.
#pragma once

#include <string_view>

namespace nibble::tokenizers {

inline constexpr std::string_view kBlankMark = "\xE2\x96\x81";  // U+2581

}  // namespace nibble::tokenizers
