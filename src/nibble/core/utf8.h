// UTF-8: reading, writing and repairing. Invalid parts follow the W3C and Unicode practice (Unicode
// 15, section 3.9, "substitution of maximal subparts"): each maximal invalid part is one U+FFFD.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace nibble {

enum class Utf8Kind { kValid, kInvalid, kIncomplete };

/// What stands at the front of a byte string.
struct Utf8Part {
  Utf8Kind kind;
  std::size_t length;  // bytes of the character, or of the maximal invalid part
};

/// Looks at the front of `bytes` (not empty). kIncomplete: all of `bytes` is the start of a
/// character that more bytes could complete.
Utf8Part front_utf8(std::string_view bytes);

/// The bytes of the character that `lead` opens, in valid UTF-8.
inline std::size_t utf8_length(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

/// The code point at the front of `text` (valid UTF-8, not empty).
char32_t front_code_point(std::string_view text);

/// The bytes of the last character of `text` (valid UTF-8, not empty).
std::size_t last_utf8_length(std::string_view text);

void append_utf8(std::string& text, char32_t code_point);

bool is_valid_utf8(std::string_view bytes);

/// Throws Error naming `origin` if there is a NUL in `text`: UTF-16 or no text at all.
void require_text(std::string_view text, std::string_view origin);

/// `bytes` with every maximal invalid part replaced by U+FFFD.
std::string replace_invalid_utf8(std::string_view bytes);

/// Columns of a terminal that valid UTF-8 takes: 2 for wide characters, 0 for combining ones.
std::size_t display_width(std::string_view text);

/// Moves what can be said for sure from `pending` to the end of `text`: whole characters, and
/// U+FFFD for invalid parts. The start of an unfinished character stays in `pending`.
void drain_utf8(std::string& pending, std::string& text);

}  // namespace nibble
