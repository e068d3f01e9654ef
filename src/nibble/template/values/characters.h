// Texts as Python sees them: sequences of code points. All texts here are valid UTF-8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "nibble/core/function_ref.h"
#include "nibble/core/utf8.h"

namespace nibble::jinja {

std::size_t count_characters(std::string_view text);

/// Calls `visit` with each character's bytes.
void for_each_character(std::string_view text, FunctionRef<void(std::string_view)> visit);

/// The byte where character `index` begins; the text's size at and past its end.
std::size_t byte_offset(std::string_view text, std::size_t index);

std::vector<char32_t> code_points(std::string_view text);
std::string from_code_points(const std::vector<char32_t>& points);

/// What Python's str.isspace() and re's \s take for white space.
bool is_space(char32_t c);

std::string_view strip_left(std::string_view text);
std::string_view strip_right(std::string_view text);
/// Without the characters of `set` at its ends.
std::string_view strip_left(std::string_view text, std::string_view set);
std::string_view strip_right(std::string_view text, std::string_view set);

/// `text` with the first `limit` places of `from` (negative: all) turned to `to`. Throws Raised if
/// the result is too large.
std::string replace_text(std::string_view text, std::string_view from, std::string_view to,
                         std::int64_t limit);

/// The lines, without their ends, as str.splitlines() cuts them.
std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends = false);

// Case, with Python's special cases (the German sharp s, ligatures, the final sigma).
std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
std::string to_title(std::string_view text);        // str.title()
std::string to_capitalized(std::string_view text);  // str.capitalize()
std::string swap_case(std::string_view text);

bool is_letter(char32_t c);
bool is_upper(char32_t c);
bool is_lower(char32_t c);
bool is_decimal(char32_t c);
bool is_printable(char32_t c);

/// Whether the text has a character and all are such.
bool all_characters(std::string_view text, bool (*is)(char32_t));
/// Whether a character is of a case and none is of the other.
bool all_upper(std::string_view text);
bool all_lower(std::string_view text);

}  // namespace nibble::jinja
