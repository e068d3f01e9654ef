#include "nibble/template/parse/lexer.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "nibble/template/values/characters.h"
#include "nibble/template/values/show.h"
#include "nibble/tokenizer/text/unicode.h"

namespace nibble::jinja {
namespace {

using Type = Token::Type;

/// Newlines of any kind as \n; one at the very end is not part of the template.
std::string normalize_newlines(std::string_view source) {
  std::string text;
  for (std::size_t i = 0; i < source.size(); ++i) {
    const bool carriage_return = source[i] == '\r';
    if (carriage_return && i + 1 < source.size() && source[i + 1] == '\n') continue;
    text += carriage_return ? '\n' : source[i];
  }
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

bool is_digit(char c, int base = 10) {
  if (base == 16)
    return std::string_view("0123456789abcdefABCDEF").find(c) != std::string_view::npos;
  return c >= '0' && c < '0' + base;
}

bool is_name_character(std::string_view rest) {
  return tokenizers::is_word(front_code_point(rest));
}

int digit_value(char c) {
  return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

/// The escapes of a text literal, as Python's unicode-escape decodes them.
class Unescaper {
 public:
  Unescaper(std::string_view text, int line) : text_(text), line_(line) {}

  std::string run() {
    while (at_ < text_.size()) {
      if (text_[at_] != '\\') {
        out_ += text_[at_++];
      } else if (++at_ == text_.size()) {
        syntax_error(line_, "\\ at end of string");
      } else {
        escape();
      }
    }
    return std::move(out_);
  }

 private:
  void escape() {
    static constexpr std::string_view kNames = "\\'\"abfnrtv";
    static constexpr std::string_view kCharacters = "\\'\"\a\b\f\n\r\t\v";
    const char c = text_[at_++];
    if (const std::size_t found = kNames.find(c); found != std::string_view::npos) {
      out_ += kCharacters[found];
    } else if (c == 'x' || c == 'u' || c == 'U') {
      hexadecimal(c);
    } else if (is_digit(c, 8)) {
      --at_;
      octal();
    } else if (c == 'N') {
      syntax_error(line_,
                   "\\N{{...}} is not supported: write the character, or \\u and its number");
    } else if (c != '\n') {
      out_ += '\\';
      out_ += c;
    }
  }

  void octal() {
    char32_t code = 0;
    for (int i = 0; i < 3 && at_ < text_.size() && is_digit(text_[at_], 8); ++i) {
      code = code * 8 + static_cast<char32_t>(digit_value(text_[at_++]));
    }
    append_utf8(out_, code);
  }

  void hexadecimal(char kind) {
    const int digits = kind == 'x' ? 2 : kind == 'u' ? 4 : 8;
    char32_t code = 0;
    for (int i = 0; i < digits; ++i) {
      if (at_ == text_.size() || !is_digit(text_[at_], 16)) {
        syntax_error(line_, "truncated \\{}{} escape", kind, std::string(digits, 'X'));
      }
      code = code * 16 + static_cast<char32_t>(digit_value(text_[at_++]));
    }
    if (code > 0x10FFFF) syntax_error(line_, "illegal Unicode character");
    if (code >= 0xD800 && code < 0xE000) syntax_error(line_, "surrogates not allowed");
    append_utf8(out_, code);
  }

  std::string_view text_;
  int line_;
  std::size_t at_ = 0;
  std::string out_;
};

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  std::vector<Token> run() {
    while (at_ < text_.size()) lex_root();
    add(Type::kEnd, "");
    return std::move(tokens_);
  }

 private:
  std::string_view rest() const { return text_.substr(at_); }
  bool at(std::string_view piece) const { return rest().starts_with(piece); }
  char peek(std::size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }

  void add(Type type, std::string text, Value value = Value()) {
    tokens_.push_back({type, line_, std::move(text), std::move(value)});
  }

  /// Goes on to `to`, counting lines.
  void move_to(std::size_t to) {
    line_ += static_cast<int>(std::count(text_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         text_.begin() + static_cast<std::ptrdiff_t>(to), '\n'));
    at_ = to;
  }
  void skip(std::size_t count) { move_to(at_ + count); }
  void skip_space() { move_to(text_.size() - strip_left(rest()).size()); }

  /// The place of the next tag's opening brace.
  std::size_t next_tag() const {
    std::size_t found = at_;
    for (;; ++found) {
      found = text_.find('{', found);
      if (found == std::string_view::npos || found + 1 >= text_.size()) return text_.size();
      const char kind = text_[found + 1];
      if (kind == '{' || kind == '%' || kind == '#') return found;
    }
  }

  /// The sign behind an opening; skips opening and sign.
  char take_opening() {
    skip(2);
    const char sign = peek();
    if (sign != '-' && sign != '+') return '\0';
    skip(1);
    return sign;
  }

  /// What decides how much of the text in front of a tag stays.
  struct Edge {
    char sign;           // '-', '+' or none
    bool is_variable;    // the tag is {{
    bool line_starting;  // the text began a line
  };

  /// The text in front of a tag, less what white space control takes away.
  static std::string_view control(std::string_view data, const Edge& edge) {
    if (edge.sign == '-') return strip_right(data);
    if (edge.sign == '+' || edge.is_variable) return data;
    const std::size_t line_start = data.rfind('\n') + 1;  // 0 if there is none
    const bool at_line_start = line_start > 0 || edge.line_starting;
    const std::string_view last_line = data.substr(line_start);
    return at_line_start && strip_left(last_line).empty() ? data.substr(0, line_start) : data;
  }

  void add_data(std::string_view data) {
    if (!data.empty()) add(Type::kData, std::string(data));
  }

  void lex_root() {
    const std::size_t start = at_;
    const std::size_t tag = next_tag();
    const std::string_view data = text_.substr(start, tag - start);
    if (tag == text_.size()) {
      add_data(data);
      return move_to(tag);
    }
    const int data_line = line_;
    move_to(tag);
    const char kind = text_[tag + 1];
    const int tag_line = line_;
    const char sign = take_opening();
    line_ = data_line;
    add_data(control(data, {sign, kind == '{', line_starting_}));
    line_ = tag_line;
    line_starting_ = false;
    if (kind == '#') return lex_comment();
    if (kind == '%' && lex_raw()) return;
    add(kind == '{' ? Type::kVariableBegin : Type::kBlockBegin, "");
    lex_code(kind == '{');
  }

  /// Takes the end of a tag at this place: "%}" and the like, with its white space.
  bool take_end(std::string_view end, bool trims, bool plus) {
    if (plus && peek() == '+' && text_.substr(at_ + 1).starts_with(end)) {
      skip(1 + end.size());
    } else if (peek() == '-' && text_.substr(at_ + 1).starts_with(end)) {
      skip(1 + end.size());
      skip_space();
    } else if (at(end)) {
      skip(end.size());
      if (trims && peek() == '\n') skip(1);
    } else {
      return false;
    }
    line_starting_ = text_[at_ - 1] == '\n';
    return true;
  }

  void lex_comment() {
    while (at_ < text_.size()) {
      if (take_end("#}", true, true)) return;
      skip(1);
    }
    syntax_error(line_, "Missing end of comment tag");
  }

  /// A raw block, if the tag opens one: text up to endraw, as it stands.
  bool lex_raw() {
    const std::size_t tag = at_;
    const int tag_line = line_;
    skip_space();
    bool is_raw = at("raw");
    if (is_raw) {
      skip(3);
      skip_space();
      is_raw = take_end("%}", false, false);
    }
    if (!is_raw) {
      at_ = tag;
      line_ = tag_line;
      return false;
    }
    const std::size_t start = at_;
    const int start_line = line_;
    const bool starting = line_starting_;
    for (std::size_t found = text_.find("{%", at_); found != std::string_view::npos;
         found = text_.find("{%", found + 2)) {
      move_to(found);
      const char sign = take_opening();
      skip_space();
      if (!take_endraw()) continue;
      const int end_line = std::exchange(line_, start_line);
      add_data(control(text_.substr(start, found - start), {sign, false, starting}));
      line_ = end_line;
      return true;
    }
    syntax_error(line_, "Missing end of raw directive");
  }

  bool take_endraw() {
    if (!at("endraw")) return false;
    skip(6);
    skip_space();
    return take_end("%}", true, true);
  }

  void lex_code(bool is_variable) {
    const std::string_view end = is_variable ? "}}" : "%}";
    while (at_ < text_.size()) {
      if (open_.empty() && take_end(end, !is_variable, !is_variable)) {
        add(is_variable ? Type::kVariableEnd : Type::kBlockEnd, "");
        return;
      }
      lex_token();
    }
  }

  void lex_token() {
    const char c = peek();
    if (is_space(front_code_point(rest()))) return skip_space();
    if (is_digit(c)) return lex_number();
    if (c == '\'' || c == '"') {
      if (lex_text(c)) return;
    } else if (is_name_character(rest())) {
      return lex_name();
    } else if (lex_operator()) {
      return;
    }
    const std::size_t length = utf8_length(c);
    syntax_error(line_, "unexpected char {} at {}", repr_text(rest().substr(0, length)),
                 count_characters(text_.substr(0, at_)));
  }

  void lex_name() {
    const std::size_t start = at_;
    while (at_ < text_.size() && is_name_character(rest())) at_ += utf8_length(peek());
    add(Type::kName, std::string(text_.substr(start, at_ - start)));
  }

  /// The end of digits with single underscores between them, from `from` on; `from` if none.
  std::size_t digits_end(std::size_t from, int base = 10) const {
    std::size_t end = from;
    while (end < text_.size()) {
      const bool joined = end > from && text_[end] == '_' && end + 1 < text_.size();
      const std::size_t digit = joined ? end + 1 : end;
      if (!is_digit(text_[digit], base)) break;
      end = digit + 1;
    }
    return end;
  }

  /// The end of a real number at this place; this place if it is none.
  std::size_t real_end() const {
    if (at_ > 0 && text_[at_ - 1] == '.') return at_;
    const std::size_t whole = digits_end(at_);
    std::size_t end = whole;
    if (end < text_.size() && text_[end] == '.') {
      const std::size_t fraction = digits_end(end + 1);
      if (fraction > end + 1) end = fraction;
    }
    if (end < text_.size() && (text_[end] | 0x20) == 'e') {
      std::size_t exponent = end + 1;
      if (exponent < text_.size() && (text_[exponent] == '+' || text_[exponent] == '-')) ++exponent;
      const std::size_t exponent_end = digits_end(exponent);
      if (exponent_end > exponent) return exponent_end;
    }
    return end > whole ? end : at_;
  }

  std::string digits(std::size_t from, std::size_t to) const {
    std::string text(text_.substr(from, to - from));
    std::erase(text, '_');
    return text;
  }

  void lex_number() {
    if (const std::size_t end = real_end(); end > at_) {
      const double value = std::strtod(digits(at_, end).c_str(), nullptr);
      add(Type::kReal, "", Value::real(value));
      at_ = end;
      return;
    }
    const char kind = peek() == '0' ? static_cast<char>(peek(1) | 0x20) : '\0';
    const int base = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 10;
    std::size_t start = at_;
    if (base != 10) {
      start += 2;
      if (start < text_.size() && text_[start] == '_') ++start;
    }
    std::size_t end = digits_end(start, base);
    if (base != 10 && end == start) end = start = at_ + 1;  // "0x": a zero, then a name
    if (base == 10 && peek() == '0') {  // "007": zeros, then a number of its own
      while (end > start + 1 && digits(start, end).find_first_not_of('0') != std::string::npos) {
        --end;
      }
    }
    add(Type::kInteger, "", Value::integer(integer(digits(start, end), base)));
    at_ = end;
  }

  Int integer(const std::string& digits, int base) const {
    Int value = 0;
    for (const char c : digits) {
      if (__builtin_mul_overflow(value, base, &value) ||
          __builtin_add_overflow(value, digit_value(c), &value)) {
        syntax_error(line_, "an integer of more than 127 bits");
      }
    }
    return value;
  }

  bool lex_text(char quote) {
    std::size_t end = at_ + 1;
    while (end < text_.size() && text_[end] != quote) end += text_[end] == '\\' ? 2 : 1;
    if (end >= text_.size()) return false;
    add(Type::kText, Unescaper(text_.substr(at_ + 1, end - at_ - 1), line_).run());
    move_to(end + 1);
    return true;
  }

  bool lex_operator() {
    static constexpr std::string_view kOperators[] = {
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
        "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
    for (const std::string_view sign : kOperators) {
      if (!at(sign)) continue;
      balance(sign[0]);
      add(Type::kOperator, std::string(sign));
      skip(sign.size());
      return true;
    }
    return false;
  }

  void balance(char c) {
    if (c == '(') open_ += ')';
    if (c == '[') open_ += ']';
    if (c == '{') open_ += '}';
    if (c != ')' && c != ']' && c != '}') return;
    if (open_.empty()) syntax_error(line_, "unexpected '{}'", c);
    const char expected = open_.back();
    open_.pop_back();
    if (c != expected) syntax_error(line_, "unexpected '{}', expected '{}'", c, expected);
  }

  std::string_view text_;
  std::size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;  // the last token ended a line
  std::string open_;           // the closing brackets expected
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) {
  const std::string text = normalize_newlines(source);
  return Lexer(text).run();
}

}  // namespace nibble::jinja
