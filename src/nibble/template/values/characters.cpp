#include "nibble/template/values/characters.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>

#include "nibble/template/values/budget.h"
#include "nibble/tokenizer/text/unicode.h"

namespace nibble::jinja {
namespace {

utf8proc_category_t category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

char32_t map_one(utf8proc_int32_t (*map)(utf8proc_int32_t), char32_t c) {
  return static_cast<char32_t>(map(static_cast<utf8proc_int32_t>(c)));
}

/// Characters whose upper case is several (Unicode's SpecialCasing.txt, those of living scripts).
struct LongUpper {
  char32_t lower;
  const char* upper;
};
constexpr std::array<LongUpper, 14> kLongUpper{{{0xDF, "SS"},
                                                {0x149, "\u02BCN"},
                                                {0x1F0, "J\u030C"},
                                                {0x390, "\u0399\u0308\u0301"},
                                                {0x3B0, "\u03A5\u0308\u0301"},
                                                {0x587, "\u0535\u0552"},
                                                {0x1E96, "H\u0331"},
                                                {0xFB00, "FF"},
                                                {0xFB01, "FI"},
                                                {0xFB02, "FL"},
                                                {0xFB03, "FFI"},
                                                {0xFB04, "FFL"},
                                                {0xFB05, "ST"},
                                                {0xFB06, "ST"}}};

void append_upper(std::string& out, char32_t c) {
  const auto* found = std::find_if(kLongUpper.begin(), kLongUpper.end(),
                                   [c](const LongUpper& entry) { return entry.lower == c; });
  if (found != kLongUpper.end()) {
    out += found->upper;
  } else {
    append_utf8(out, map_one(utf8proc_toupper, c));
  }
}

void append_title(std::string& out, char32_t c) {
  std::string upper;
  append_upper(upper, c);
  if (count_characters(upper) > 1) {  // "Ss", "Fi"
    const std::size_t first = utf8_length(upper[0]);
    out += upper.substr(0, first) + to_lower(std::string_view(upper).substr(first));
  } else {
    append_utf8(out, map_one(utf8proc_totitle, c));
  }
}

bool is_cased(char32_t c) {
  return is_upper(c) || is_lower(c) || category(c) == UTF8PROC_CATEGORY_LT;
}

/// Whether the capital sigma at `at` ends a word, so that its lower case is the final form.
bool ends_word(const std::vector<char32_t>& points, std::size_t at) {
  const auto ignorable = [](char32_t c) {
    return tokenizers::is_mark(c) || c == '\'' || c == '.' || c == ':' || c == 0xAD || c == 0xB7 ||
           c == 0x2019;
  };
  std::size_t before = at;
  while (before > 0 && ignorable(points[before - 1])) --before;
  if (before == 0 || !is_cased(points[before - 1])) return false;
  std::size_t after = at + 1;
  while (after < points.size() && ignorable(points[after])) ++after;
  return after == points.size() || !is_cased(points[after]);
}

void append_lower(std::string& out, const std::vector<char32_t>& points, std::size_t at) {
  constexpr char32_t kCapitalSigma = 0x3A3;
  constexpr char32_t kFinalSigma = 0x3C2;
  if (points[at] == kCapitalSigma && ends_word(points, at)) {
    append_utf8(out, kFinalSigma);
  } else {
    tokenizers::append_lowercase(out, points[at]);
  }
}

bool is_line_end(char32_t c) {
  return (c >= '\n' && c <= '\r') || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

bool in_set(std::string_view character, std::string_view set) {
  bool found = false;
  for_each_character(set, [&](std::string_view other) { found |= other == character; });
  return found;
}

template <typename Drop>
std::string_view strip_left_if(std::string_view text, Drop drop) {
  while (!text.empty()) {
    const std::size_t length = utf8_length(text[0]);
    if (!drop(text.substr(0, length))) break;
    text.remove_prefix(length);
  }
  return text;
}

template <typename Drop>
std::string_view strip_right_if(std::string_view text, Drop drop) {
  while (!text.empty()) {
    const std::size_t length = last_utf8_length(text);
    if (!drop(text.substr(text.size() - length))) break;
    text.remove_suffix(length);
  }
  return text;
}

bool is_space_text(std::string_view character) {
  return is_space(front_code_point(character));
}

}  // namespace

std::size_t count_characters(std::string_view text) {
  count_bytes(text.size());
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

void for_each_character(std::string_view text, FunctionRef<void(std::string_view)> visit) {
  count_steps(static_cast<std::int64_t>(text.size() / 8));
  while (!text.empty()) {
    const std::size_t length = utf8_length(text[0]);
    visit(text.substr(0, length));
    text.remove_prefix(length);
  }
}

std::size_t byte_offset(std::string_view text, std::size_t index) {
  std::size_t at = 0;
  while (at < text.size() && index > 0) {
    at += utf8_length(text[at]);
    --index;
  }
  count_bytes(at);
  return at;
}

std::vector<char32_t> code_points(std::string_view text) {
  std::vector<char32_t> points;
  points.reserve(text.size());
  for_each_character(text, [&](std::string_view c) { points.push_back(front_code_point(c)); });
  return points;
}

std::string from_code_points(const std::vector<char32_t>& points) {
  std::string text;
  for (const char32_t c : points) append_utf8(text, c);
  return text;
}

bool is_space(char32_t c) {
  return (c >= 0x1C && c <= 0x1F) || tokenizers::is_whitespace(c);
}

std::string_view strip_left(std::string_view text) {
  return strip_left_if(text, is_space_text);
}
std::string_view strip_right(std::string_view text) {
  return strip_right_if(text, is_space_text);
}
std::string_view strip_left(std::string_view text, std::string_view set) {
  return strip_left_if(text, [set](std::string_view c) { return in_set(c, set); });
}
std::string_view strip_right(std::string_view text, std::string_view set) {
  return strip_right_if(text, [set](std::string_view c) { return in_set(c, set); });
}

std::string replace_text(std::string_view text, std::string_view from, std::string_view to,
                         std::int64_t limit) {
  count_bytes(text.size());
  std::string out;
  std::size_t at = 0;
  for (; limit != 0; --limit) {
    const std::size_t found = text.find(from, at);
    if (found == std::string_view::npos) break;
    out += text.substr(at, found - at);
    out += to;
    at = found + from.size();
    if (from.empty()) {  // between all characters, and at both ends
      if (at == text.size()) return out;
      const std::size_t length = utf8_length(text[at]);
      out += text.substr(at, length);
      at += length;
    }
    check_size(1, out.size());
  }
  return out += text.substr(at);
}

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends) {
  count_bytes(text.size());
  std::vector<std::string_view> lines;
  std::size_t start = 0;
  for (std::size_t at = 0; at < text.size();) {
    const char32_t c = front_code_point(text.substr(at));
    const std::size_t end = at;
    at += utf8_length(text[at]);
    if (!is_line_end(c)) continue;
    if (c == '\r' && at < text.size() && text[at] == '\n') ++at;
    lines.push_back(text.substr(start, (keep_ends ? at : end) - start));
    start = at;
  }
  if (start < text.size()) lines.push_back(text.substr(start));
  return lines;
}

std::string to_upper(std::string_view text) {
  std::string out;
  for (const char32_t c : code_points(text)) append_upper(out, c);
  return out;
}

std::string to_lower(std::string_view text) {
  const std::vector<char32_t> points = code_points(text);
  std::string out;
  for (std::size_t i = 0; i < points.size(); ++i) append_lower(out, points, i);
  return out;
}

std::string to_title(std::string_view text) {
  const std::vector<char32_t> points = code_points(text);
  std::string out;
  bool in_word = false;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (in_word) {
      append_lower(out, points, i);
    } else {
      append_title(out, points[i]);
    }
    in_word = is_cased(points[i]);
  }
  return out;
}

std::string to_capitalized(std::string_view text) {
  const std::vector<char32_t> points = code_points(text);
  std::string out;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (i == 0) {
      append_title(out, points[i]);
    } else {
      append_lower(out, points, i);
    }
  }
  return out;
}

std::string swap_case(std::string_view text) {
  const std::vector<char32_t> points = code_points(text);
  std::string out;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (is_upper(points[i])) {
      append_lower(out, points, i);
    } else if (is_lower(points[i])) {
      append_upper(out, points[i]);
    } else {
      append_utf8(out, points[i]);
    }
  }
  return out;
}

bool is_letter(char32_t c) {
  const utf8proc_category_t found = category(c);
  return found >= UTF8PROC_CATEGORY_LU && found <= UTF8PROC_CATEGORY_LO;
}
bool is_upper(char32_t c) {
  return utf8proc_isupper(static_cast<utf8proc_int32_t>(c)) != 0;
}
bool is_lower(char32_t c) {
  return utf8proc_islower(static_cast<utf8proc_int32_t>(c)) != 0;
}
bool is_decimal(char32_t c) {
  return category(c) == UTF8PROC_CATEGORY_ND;
}

bool is_printable(char32_t c) {
  if (c == ' ') return true;
  const utf8proc_category_t found = category(c);
  return found != UTF8PROC_CATEGORY_CN && found < UTF8PROC_CATEGORY_ZS;
}

bool all_characters(std::string_view text, bool (*is)(char32_t)) {
  const std::vector<char32_t> points = code_points(text);
  return !points.empty() && std::all_of(points.begin(), points.end(), is);
}

bool all_upper(std::string_view text) {
  const std::vector<char32_t> points = code_points(text);
  return std::any_of(points.begin(), points.end(), is_upper) &&
         std::none_of(points.begin(), points.end(),
                      [](char32_t c) { return is_cased(c) && !is_upper(c); });
}

bool all_lower(std::string_view text) {
  const std::vector<char32_t> points = code_points(text);
  return std::any_of(points.begin(), points.end(), is_lower) &&
         std::none_of(points.begin(), points.end(),
                      [](char32_t c) { return is_cased(c) && !is_lower(c); });
}

}  // namespace nibble::jinja
