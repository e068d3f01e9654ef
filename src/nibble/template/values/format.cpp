#include "nibble/template/values/format.h"

#include <algorithm>
#include <cmath>

#include "nibble/template/values/arithmetic.h"
#include "nibble/template/values/characters.h"
#include "nibble/template/values/compare.h"
#include "nibble/template/values/raised.h"
#include "nibble/template/values/show.h"

namespace nibble::jinja {
namespace {

constexpr int kMaxPrecision = 1000;

std::size_t read_width(std::string_view& text) {
  std::size_t width = 0;
  while (!text.empty() && text[0] >= '0' && text[0] <= '9') {
    width = width * 10 + static_cast<std::size_t>(text[0] - '0');
    if (width > kMaxWidth) value_error("a width or precision above {}", kMaxWidth);
    text.remove_prefix(1);
  }
  return width;
}

int read_precision(std::string_view& text) {
  const std::size_t precision = read_width(text);
  if (precision > static_cast<std::size_t>(kMaxPrecision)) {
    value_error("a precision above {}", kMaxPrecision);
  }
  return static_cast<int>(precision);
}

bool is_align(char c) {
  return c == '<' || c == '>' || c == '^' || c == '=';
}

bool take(std::string_view& text, char c) {
  if (text.empty() || text[0] != c) return false;
  text.remove_prefix(1);
  return true;
}

void read_fill_and_align(std::string_view& text, FormatSpec& spec) {
  if (text.empty()) return;
  const std::size_t first = utf8_length(text[0]);
  if (text.size() > first && is_align(text[first])) {
    spec.fill = text.substr(0, first);
    spec.align = text[first];
    text.remove_prefix(first + 1);
  } else if (is_align(text[0])) {
    spec.align = text[0];
    text.remove_prefix(1);
  }
}

std::string repeated(std::string_view piece, std::size_t count) {
  check_size(count, piece.size());
  std::string out;
  for (std::size_t i = 0; i < count; ++i) out += piece;
  return out;
}

/// `sign` and `body` put into the width, padding between them for '='.
std::string pad(const std::string& sign, const std::string& body, const FormatSpec& spec,
                char own_align) {
  const std::size_t used = count_characters(sign) + count_characters(body);
  if (used >= spec.width) return sign + body;
  const std::size_t missing = spec.width - used;
  const char align = spec.align == '\0' ? own_align : spec.align;
  if (align == '=') return sign + repeated(spec.fill, missing) + body;
  const std::size_t left = align == '>' ? missing : align == '^' ? missing / 2 : 0;
  return repeated(spec.fill, left) + sign + body + repeated(spec.fill, missing - left);
}

void group_digits(std::string& digits, char separator, std::size_t each) {
  std::size_t end = digits.find_first_not_of("0123456789abcdefABCDEF");
  if (end == std::string::npos) end = digits.size();
  while (end > each) {
    end -= each;
    digits.insert(end, 1, separator);
  }
}

std::string sign_of(bool negative, const FormatSpec& spec) {
  return negative ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign);
}

UnsignedInt magnitude(Int value);

std::string integer_digits(Int value, char type) {
  const auto size = magnitude(value);
  switch (type) {
    case 'x':
      return fmt::format("{:x}", size);
    case 'X':
      return fmt::format("{:X}", size);
    case 'o':
      return fmt::format("{:o}", size);
    case 'b':
      return fmt::format("{:b}", size);
    default:
      return fmt::format("{}", size);
  }
}

/// The digits of a real number in one of the styles e, f, g (capital: INF, E).
std::string real_digits(double value, char type, int precision, bool alternate) {
  const bool upper = type == 'E' || type == 'F' || type == 'G';
  if (!std::isfinite(value)) {
    const char* name = std::isnan(value) ? "nan" : "inf";
    return upper ? to_upper(name) : name;
  }
  switch (type) {
    case 'e':
      return alternate ? fmt::format("{:#.{}e}", value, precision)
                       : fmt::format("{:.{}e}", value, precision);
    case 'E':
      return fmt::format("{:.{}E}", value, precision);
    case 'f':
    case 'F':
      return alternate ? fmt::format("{:#.{}f}", value, precision)
                       : fmt::format("{:.{}f}", value, precision);
    case 'G':
      return fmt::format("{:.{}G}", value, std::max(precision, 1));
    default:
      return alternate ? fmt::format("{:#.{}g}", value, std::max(precision, 1))
                       : fmt::format("{:.{}g}", value, std::max(precision, 1));
  }
}

std::string format_integer(Int value, const FormatSpec& spec) {
  if (spec.precision >= 0) value_error("Precision not allowed in integer format specifier");
  std::string digits = integer_digits(value, spec.type);
  if (spec.grouping != '\0')
    group_digits(digits, spec.grouping, spec.type == 'd' || spec.type == '\0' ? 3 : 4);
  std::string sign = sign_of(value < 0, spec);
  if (spec.alternate &&
      (spec.type == 'x' || spec.type == 'X' || spec.type == 'o' || spec.type == 'b')) {
    sign += {'0', spec.type};
  }
  return pad(sign, digits, spec, '>');
}

std::string format_real(double value, const FormatSpec& spec) {
  std::string digits;
  const double size = std::fabs(value);
  if (spec.type == '\0' && spec.precision < 0) {
    digits = real_to_text(size);
  } else if (spec.type == '%') {
    digits = real_digits(size * 100, 'f', spec.precision < 0 ? 6 : spec.precision, false) + '%';
  } else {
    const char type = spec.type == '\0' || spec.type == 'n' ? 'g' : spec.type;
    digits = real_digits(size, type, spec.precision < 0 ? 6 : spec.precision, spec.alternate);
    if (spec.type == '\0' && digits.find_first_not_of("0123456789") == std::string::npos) {
      digits += ".0";
    }
  }
  if (spec.grouping != '\0') group_digits(digits, spec.grouping, 3);
  return pad(sign_of(std::signbit(value) && !std::isnan(value), spec), digits, spec, '>');
}

std::string cut(const std::string& text, int precision) {
  return precision < 0 ? text
                       : text.substr(0, byte_offset(text, static_cast<std::size_t>(precision)));
}

[[noreturn]] void unknown_code(char type, const Value& value) {
  value_error("Unknown format code '{}' for object of type '{}'", type, type_name(value));
}

UnsignedInt magnitude(Int value) {
  const auto bits = static_cast<UnsignedInt>(value);
  return value < 0 ? -bits : bits;
}

/// One "%..." conversion after the other.
class PercentFormatter {
 public:
  PercentFormatter(const Value& format, const Value& values)
      : text_(format.as_text()), values_(values), markup_(format.is_markup()) {}

  std::string run() {
    std::string out;
    while (at_ < text_.size()) {
      const std::size_t percent = std::min(text_.find('%', at_), text_.size());
      out += text_.substr(at_, percent - at_);
      at_ = percent;
      if (at_ < text_.size()) out += convert();
    }
    if (!all_used()) type_error("not all arguments converted during string formatting");
    return out;
  }

 private:
  /// Values that keys could be looked up in need not be used.
  bool all_used() const {
    if (values_.is_tuple()) return used_ == values_.items().size();
    return used_ > 0 || values_.is_dict() || values_.is_list() || values_.is_undefined();
  }

  char peek() const {
    if (at_ >= text_.size()) value_error("incomplete format");
    return text_[at_];
  }

  Value next_value() {
    if (values_.is_tuple()) {
      if (used_ >= values_.items().size()) type_error("not enough arguments for format string");
      return values_.items()[used_++];
    }
    if (used_++ > 0) type_error("not enough arguments for format string");
    return values_;
  }

  Value named_value() {
    const std::size_t end = text_.find(')', at_);
    if (end == std::string_view::npos) value_error("incomplete format key");
    const std::string name(text_.substr(at_, end - at_));
    at_ = end + 1;
    if (!values_.is_dict()) type_error("format requires a mapping");
    const Value* found = values_.as_dict().find(name);
    if (found == nullptr) raise("KeyError", "{}", repr_text(name));
    return *found;
  }

  void read_flags(FormatSpec& spec) {
    for (;; ++at_) {
      switch (peek()) {
        case '-':
          spec.align = '<';
          break;
        case '+':
          spec.sign = '+';
          break;
        case ' ':
          if (spec.sign == '-') spec.sign = ' ';
          break;
        case '#':
          spec.alternate = true;
          break;
        case '0':
          zero_ = true;
          break;
        default:
          return;
      }
    }
  }

  std::size_t read_number(FormatSpec* width_of) {
    if (peek() != '*') {
      std::string_view rest = text_.substr(at_);
      const std::size_t number = read_width(rest);
      at_ = text_.size() - rest.size();
      return number;
    }
    ++at_;
    const Value value = next_value();
    if (!value.is_integer()) type_error("* wants int");
    std::int64_t number = to_clamped_index(value);
    if (number < 0 && width_of != nullptr) {
      width_of->align = '<';
      number = -std::max(number, -static_cast<std::int64_t>(kMaxWidth) - 1);
    }
    if (number > static_cast<std::int64_t>(kMaxWidth)) value_error("a width above {}", kMaxWidth);
    return static_cast<std::size_t>(std::max<std::int64_t>(number, 0));
  }

  std::string convert() {
    const std::size_t start = at_++;
    FormatSpec spec;
    zero_ = false;
    std::optional<Value> named;
    if (peek() == '(') {
      ++at_;
      named = named_value();
    }
    read_flags(spec);
    spec.width = read_number(&spec);
    if (peek() == '.') {
      ++at_;
      spec.precision = static_cast<int>(std::min<std::size_t>(read_number(nullptr), kMaxPrecision));
    }
    while (peek() == 'l' || peek() == 'h' || peek() == 'L') ++at_;
    const char type = peek();
    ++at_;
    if (type == '%') return "%";
    const Value value = named ? *named : next_value();
    if (std::string_view("diuoxXeEfFgGcrsa").find(type) == std::string_view::npos) {
      const std::string_view rest = text_.substr(at_ - 1);
      const auto length = std::min(utf8_length(rest[0]), rest.size());
      const auto code = static_cast<unsigned>(front_code_point(rest));
      value_error("unsupported format character '{}' (0x{:x}) at index {}", rest.substr(0, length),
                  code, count_characters(text_.substr(0, start)) + (at_ - 1 - start));
    }
    return formatted(value, type, spec);
  }

  std::string formatted(const Value& value, char type, FormatSpec& spec) {
    if (type == 's' || type == 'r' || type == 'a') return text_of(value, type, spec);
    if (type == 'c') return character(value, spec);
    if (!value.is_number()) {
      require_not_undefined(value, type);
    }
    if (zero_ && spec.align == '\0') {
      spec.fill = "0";
      spec.align = '=';
    }
    if (std::string_view("diuoxX").find(type) == std::string_view::npos) {
      spec.type = type;
      return format_real(value.as_real(), spec);
    }
    if (value.is_real() && std::string_view("oxX").find(type) != std::string_view::npos) {
      type_error("%{} format: an integer is required, not float", type);
    }
    const Int number = value.is_real() ? truncate_real(value.as_real()) : value.as_integer();
    spec.type = type == 'i' || type == 'u' ? 'd' : type;
    return with_precision(number, spec);
  }

  [[noreturn]] static void require_not_undefined(const Value& value, char type) {
    const bool integer = std::string_view("oxX").find(type) != std::string_view::npos;
    if (std::string_view("diuoxX").find(type) != std::string_view::npos) {
      type_error("%{} format: {} is required, not {}", type,
                 integer ? "an integer" : "a real number", type_name(value));
    }
    if (value.is_undefined()) raise_undefined(value.as_undefined());
    type_error("must be real number, not {}", type_name(value));
  }

  /// A precision is the least number of digits.
  static std::string with_precision(Int number, FormatSpec& spec) {
    std::string digits = integer_digits(number, spec.type);
    const auto least = static_cast<std::size_t>(std::max(spec.precision, 0));
    if (digits.size() < least) digits.insert(0, least - digits.size(), '0');
    std::string sign = sign_of(number < 0, spec);
    if (spec.alternate && spec.type != 'd') sign += {'0', spec.type};
    return pad(sign, digits, spec, '>');
  }

  std::string text_of(const Value& value, char type, const FormatSpec& spec) const {
    std::string text = type == 's' ? to_text(value) : repr(value);
    if (markup_ && !value.is_markup()) text = escape_html(text);
    return pad("", cut(text, spec.precision), spec, '>');
  }

  static std::string character(const Value& value, const FormatSpec& spec) {
    if (value.is_integer()) {
      const Int code = value.as_integer();
      if (code < 0 || code > 0x10FFFF) raise("OverflowError", "%c arg not in range(0x110000)");
      if (code >= 0xD800 && code < 0xE000) value_error("surrogates not allowed");
      std::string text;
      append_utf8(text, static_cast<char32_t>(code));
      return pad("", text, spec, '>');
    }
    if (!value.is_text() || count_characters(value.as_text()) != 1) {
      type_error("%c requires int or char");
    }
    return pad("", value.as_text(), spec, '>');
  }

  std::string_view text_;
  const Value& values_;
  bool markup_;
  std::size_t at_ = 0;
  std::size_t used_ = 0;
  bool zero_ = false;
};

/// The end of the field that begins at `at` (behind its brace), nested braces skipped.
std::size_t field_end(std::string_view text, std::size_t at) {
  int open = 1;
  bool in_brackets = false;
  for (; at < text.size(); ++at) {
    if (text[at] == '[') in_brackets = true;
    if (text[at] == ']') in_brackets = false;
    if (in_brackets) continue;
    if (text[at] == '{') ++open;
    if (text[at] == '}' && --open == 0) return at;
  }
  value_error("expected '}}' before end of string");
}

std::string converted_field(const Value& value, std::string_view conversion,
                            const std::string& spec) {
  if (conversion.empty()) {
    if (spec.empty()) return to_text(value);
    return format_value(value, parse_spec(spec, type_name(value)));
  }
  if (conversion != "s" && conversion != "r" && conversion != "a") {
    value_error("Unknown conversion specifier {}", conversion);
  }
  const Value text = Value::text(conversion == "s" ? to_text(value) : repr(value));
  return format_value(text, parse_spec(spec, "str"));
}

std::string format_field(std::string_view field, FieldLookup lookup, int& next_index, int depth) {
  const std::size_t name_end = std::min(field.find_first_of("!:["), field.size());
  std::size_t end = name_end;
  while (end < field.size() && field[end] != '!' && field[end] != ':') {
    if (field[end] == '[') end = std::min(field.find(']', end), field.size() - 1);
    ++end;
  }
  std::string_view name = field.substr(0, end);
  std::string_view conversion;
  std::string spec;
  std::string_view rest = field.substr(end);
  if (take(rest, '!')) {
    const std::size_t colon = std::min(rest.find(':'), rest.size());
    conversion = rest.substr(0, colon);
    rest.remove_prefix(colon);
    if (conversion.empty()) value_error("end of string while looking for conversion specifier");
  }
  const std::size_t first = std::min(name.find_first_of(".["), name.size());
  const Value value = lookup(name.substr(0, first), name.substr(first), next_index);
  if (take(rest, ':')) {
    const auto inner = [&](std::string_view n, std::string_view r, int&) {
      return lookup(n, r, next_index);
    };
    spec = rest.find('{') == std::string_view::npos ? std::string(rest)
                                                    : format_fields(rest, inner, depth - 1);
  }
  return converted_field(value, conversion, spec);
}

}  // namespace

std::string format_percent(const Value& format, const Value& values) {
  return PercentFormatter(format, values).run();
}

FormatSpec parse_spec(std::string_view text, const std::string& type_name) {
  const std::string whole(text);
  FormatSpec spec;
  read_fill_and_align(text, spec);
  if (take(text, '+')) {
    spec.sign = '+';
  } else if (take(text, ' ')) {
    spec.sign = ' ';
  } else {
    take(text, '-');
  }
  spec.alternate = take(text, '#');
  if (take(text, '0') && spec.align == '\0') {
    spec.fill = "0";
    spec.align = type_name == "str" ? '<' : '=';
  }
  spec.width = read_width(text);
  if (take(text, ',')) {
    spec.grouping = ',';
  } else if (take(text, '_')) {
    spec.grouping = '_';
  }
  if (take(text, '.')) {
    if (text.empty() || text[0] < '0' || text[0] > '9') {
      value_error("Format specifier missing precision");
    }
    spec.precision = read_precision(text);
  }
  if (text.size() > 1) {
    value_error("Invalid format specifier '{}' for object of type '{}'", whole, type_name);
  }
  if (!text.empty()) spec.type = text[0];
  return spec;
}

std::string format_value(const Value& value, const FormatSpec& spec) {
  static constexpr std::string_view kRealTypes = "eEfFgGn%";
  if (value.is_text()) {
    if (spec.type != '\0' && spec.type != 's') unknown_code(spec.type, value);
    if (spec.align == '=') {
      value_error("'=' alignment not allowed in string format specifier");
    }
    if (spec.sign != '-') value_error("Sign not allowed in string format specifier");
    return pad("", cut(value.as_text(), spec.precision), spec, '<');
  }
  if (!value.is_number()) {
    type_error("unsupported format string passed to {}.__format__", type_name(value));
  }
  const bool real_type = spec.type != '\0' &&
                         kRealTypes.find(spec.type) != std::string_view::npos &&
                         !(spec.type == 'n' && value.is_integer());
  if (real_type) return format_real(value.as_real(), spec);
  if (value.is_real()) {
    if (spec.type != '\0') unknown_code(spec.type, value);
    return format_real(value.as_real(), spec);
  }
  if (spec.type == '\0' && value.is_bool() && spec.width == 0) {
    return fmt::format("{}", static_cast<int>(value.as_bool()));
  }
  if (spec.type == 'c') {
    return pad("", format_percent(Value::text("%c"), value), spec, '<');
  }
  if (spec.type != '\0' && std::string_view("dxXobn").find(spec.type) == std::string_view::npos) {
    unknown_code(spec.type, value);
  }
  return format_integer(value.as_integer(), spec);
}

std::string format_fields(std::string_view text, FieldLookup lookup, int depth) {
  if (depth <= 0) value_error("Max string recursion exceeded");
  std::string out;
  int next_index = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t brace = std::min(text.find_first_of("{}", at), text.size());
    out += text.substr(at, brace - at);
    at = brace;
    if (at == text.size()) break;
    const char c = text[at++];
    if (at < text.size() && text[at] == c) {
      out += c;
      ++at;
      continue;
    }
    if (c == '}') value_error("Single '}}' encountered in format string");
    if (at == text.size()) value_error("Single '{{' encountered in format string");
    const std::size_t end = field_end(text, at);
    out += format_field(text.substr(at, end - at), lookup, next_index, depth);
    check_size(1, out.size());
    at = end + 1;
  }
  return out;
}

}  // namespace nibble::jinja
