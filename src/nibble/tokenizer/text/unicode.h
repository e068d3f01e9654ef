// Classes of characters as the `tokenizers` library (Rust's char methods) defines them, and the
// Unicode normal forms.
#pragma once

#include <string>
#include <string_view>

namespace nibble::tokenizers {

bool is_whitespace(char32_t c);   // the property White_Space
bool is_numeric(char32_t c);      // general category N*
bool is_punctuation(char32_t c);  // ASCII punctuation (symbols such as $ too) or category P*
bool is_word(char32_t c);         // \w: letters, marks, decimal digits, connectors, join controls
bool is_mark(char32_t c);         // general category M*

/// U+0130 becomes two characters; every other one becomes one.
void append_lowercase(std::string& text, char32_t c);

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

/// `text` (valid UTF-8) in a Unicode normal form (UAX #15).
std::string normalize_unicode(std::string_view text, NormalForm form);

}  // namespace nibble::tokenizers
