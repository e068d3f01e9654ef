#include "nibble/template/values/numbers.h"

#include <cctype>
#include <cstdlib>
#include <limits>
#include <string>

#include "nibble/template/values/characters.h"
#include "nibble/template/values/raised.h"

namespace nibble::jinja {
namespace {

/// Single underscores between digits are left out; others make the text no number.
std::optional<std::string> without_underscores(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out += text[i];
      continue;
    }
    const auto is_digit = [&](std::size_t at) {
      return at < text.size() && std::isalnum(static_cast<unsigned char>(text[at])) != 0;
    };
    if (i == 0 || !is_digit(i - 1) || !is_digit(i + 1)) return std::nullopt;
  }
  return out;
}

int digit_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'z' ? lower - 'a' + 10 : 99;
}

int prefix_base(std::string_view text) {
  if (text.size() < 3 || text[0] != '0') return 0;
  const char kind = static_cast<char>(text[1] | 0x20);
  return kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 0;
}

}  // namespace

std::optional<Int> parse_integer(std::string_view text, int base) {
  if (base != 0 && (base < 2 || base > 36)) {
    value_error("int() base must be >= 2 and <= 36, or 0");
  }
  text = strip_right(strip_left(text));
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (const int found = prefix_base(text); found != 0 && (base == 0 || base == found)) {
    base = found;
    text.remove_prefix(text[2] == '_' ? 3 : 2);
  }
  const std::optional<std::string> digits = without_underscores(text);
  if (!digits || digits->empty()) return std::nullopt;
  if (base == 0) {
    if ((*digits)[0] == '0' && digits->find_first_not_of('0') != std::string::npos) {
      return std::nullopt;
    }
    base = 10;
  }
  Int value = 0;
  for (const char c : *digits) {
    const int digit = digit_of(c);
    if (digit >= base) return std::nullopt;
    if (__builtin_mul_overflow(value, base, &value) ||
        __builtin_add_overflow(value, digit, &value)) {
      raise("OverflowError", "an integer of more than 127 bits");
    }
  }
  return negative ? -value : value;
}

std::optional<double> parse_real(std::string_view text) {
  text = strip_right(strip_left(text));
  const std::optional<std::string> digits = without_underscores(text);
  if (!digits || digits->empty()) return std::nullopt;
  std::string_view body = *digits;
  const bool negative = body[0] == '-';
  if (negative || body[0] == '+') body.remove_prefix(1);
  const std::string lower = to_lower(body);
  const double sign = negative ? -1.0 : 1.0;
  if (lower == "inf" || lower == "infinity") return sign * std::numeric_limits<double>::infinity();
  if (lower == "nan") return std::numeric_limits<double>::quiet_NaN();
  if (lower.find_first_not_of("0123456789.e+-") != std::string::npos) return std::nullopt;
  char* end = nullptr;
  const double value = std::strtod(lower.c_str(), &end);
  const bool starts_well =
      !lower.empty() &&
      (lower[0] == '.' || std::isdigit(static_cast<unsigned char>(lower[0])) != 0);
  if (!starts_well || end != lower.c_str() + lower.size()) return std::nullopt;
  return sign * value;
}

}  // namespace nibble::jinja
