// The methods of Python's str, less those about bytes and translation tables.
#include <algorithm>

#include "nibble/template/builtins/method_tables.h"
#include "nibble/template/builtins/methods.h"
#include "nibble/template/run/machine.h"
#include "nibble/template/values/arithmetic.h"
#include "nibble/template/values/characters.h"
#include "nibble/template/values/compare.h"
#include "nibble/template/values/format.h"
#include "nibble/template/values/raised.h"
#include "nibble/template/values/show.h"

namespace nibble::jinja {
namespace {

using Pieces = std::vector<std::string_view>;

/// A text made from `self`: marked safe if that is.
Value same(const Value& self, std::string_view text) {
  return Value::text(std::string(text), self.is_markup());
}

Value list_of(const Value& self, const Pieces& pieces) {
  check_size(pieces.size(), sizeof(Value) + sizeof(Text));
  std::vector<Value> items;
  for (const std::string_view piece : pieces) items.push_back(same(self, piece));
  return Value::list(std::move(items));
}

template <std::string (*change)(std::string_view)>
Value changed(Machine&, const Value& self, Arguments& arguments) {
  bind("str", arguments, {});
  return same(self, change(self.as_text()));
}

template <bool (*is)(std::string_view)>
Value tested(Machine&, const Value& self, Arguments& arguments) {
  bind("str", arguments, {});
  return Value::boolean(is(self.as_text()));
}

enum class Side { kLeft, kRight, kBoth };

template <Side side>
Value strip(Machine&, const Value& self, Arguments& arguments) {
  const Value chars = bind("strip", arguments, {{"chars", kNone}})[0];
  if (!chars.is_none() && !chars.is_text()) type_error("strip arg must be None or str");
  std::string_view text = self.as_text();
  if (side != Side::kRight) {
    text = chars.is_none() ? strip_left(text) : strip_left(text, chars.as_text());
  }
  if (side != Side::kLeft) {
    text = chars.is_none() ? strip_right(text) : strip_right(text, chars.as_text());
  }
  return same(self, text);
}

/// A text may have as many pieces as bytes: too many for a list are refused on the way.
void add_piece(Pieces& pieces, std::string_view piece) {
  check_size(pieces.size() + 1, sizeof(Value) + sizeof(Text));
  pieces.push_back(piece);
}

/// The words between white space; from the left or the right at most `limit` cuts (-1: all).
Pieces split_words(std::string_view text, std::int64_t limit) {
  Pieces pieces;
  text = strip_left(text);
  while (!text.empty()) {
    if (limit >= 0 && static_cast<std::int64_t>(pieces.size()) == limit) {
      add_piece(pieces, text);  // Python keeps the white space behind the rest
      break;
    }
    std::size_t end = 0;
    while (end < text.size() && !is_space(front_code_point(text.substr(end)))) {
      end += utf8_length(text[end]);
    }
    add_piece(pieces, text.substr(0, end));
    text = strip_left(text.substr(end));
  }
  return pieces;
}

Pieces split_words_right(std::string_view text, std::int64_t limit) {
  Pieces pieces;
  text = strip_right(text);
  while (!text.empty()) {
    if (limit >= 0 && static_cast<std::int64_t>(pieces.size()) == limit) {
      add_piece(pieces, text);
      break;
    }
    std::size_t start = text.size();
    while (start > 0) {
      const std::size_t length = last_utf8_length(text.substr(0, start));
      if (is_space(front_code_point(text.substr(start - length)))) break;
      start -= length;
    }
    add_piece(pieces, text.substr(start));
    text = strip_right(text.substr(0, start));
  }
  std::reverse(pieces.begin(), pieces.end());
  return pieces;
}

Pieces split_at(std::string_view text, std::string_view separator, std::int64_t limit) {
  Pieces pieces;
  for (std::size_t found; limit != 0 && (found = text.find(separator)) != std::string_view::npos;
       --limit) {
    add_piece(pieces, text.substr(0, found));
    text.remove_prefix(found + separator.size());
  }
  add_piece(pieces, text);
  return pieces;
}

Pieces split_at_right(std::string_view text, std::string_view separator, std::int64_t limit) {
  Pieces pieces;
  for (std::size_t found; limit != 0 && (found = text.rfind(separator)) != std::string_view::npos;
       --limit) {
    add_piece(pieces, text.substr(found + separator.size()));
    text = text.substr(0, found);
  }
  add_piece(pieces, text);
  std::reverse(pieces.begin(), pieces.end());
  return pieces;
}

template <Pieces (*words)(std::string_view, std::int64_t),
          Pieces (*parts)(std::string_view, std::string_view, std::int64_t)>
Value split(Machine&, const Value& self, Arguments& arguments) {
  const auto values = bind("split", arguments, {{"sep", kNone}, {"maxsplit", Value::integer(-1)}});
  const std::int64_t limit = to_clamped_index(values[1]);
  count_bytes(self.as_text().size());
  if (values[0].is_none()) return list_of(self, words(self.as_text(), limit));
  if (!values[0].is_text()) {
    type_error("must be str or None, not {}", type_name(values[0]));
  }
  if (values[0].as_text().empty()) value_error("empty separator");
  return list_of(self, parts(self.as_text(), values[0].as_text(), limit));
}

Value splitlines(Machine&, const Value& self, Arguments& arguments) {
  const auto values = bind("splitlines", arguments, {{"keepends", Value::boolean(false)}});
  return list_of(self, split_lines(self.as_text(), truth(values[0])));
}

template <bool from_right>
Value partition(Machine&, const Value& self, Arguments& arguments) {
  const Value separator = bind("partition", arguments, {{"sep"}})[0];
  if (!separator.is_text()) type_error("must be str, not {}", type_name(separator));
  const std::string& cut = separator.as_text();
  if (cut.empty()) value_error("empty separator");
  const std::string_view text = self.as_text();
  const std::size_t at = from_right ? text.rfind(cut) : text.find(cut);
  if (at == std::string_view::npos) {
    const Value empty = same(self, "");
    return from_right ? Value::tuple({empty, empty, self}) : Value::tuple({self, empty, empty});
  }
  return Value::tuple(
      {same(self, text.substr(0, at)), same(self, cut), same(self, text.substr(at + cut.size()))});
}

/// self[start:end], and how many characters stand before it; nothing where start is past the end.
struct Part {
  std::string_view text;
  std::size_t before;
};

std::optional<Part> part_of(const std::string& text, const Value& start, const Value& end) {
  const auto size = static_cast<std::int64_t>(count_characters(text));
  const auto bound = [size](const Value& value, std::int64_t fallback) {
    std::int64_t at = value.is_none() ? fallback : to_clamped_index(value);
    if (at < 0) at = std::max<std::int64_t>(at + size, 0);
    return at;
  };
  const std::int64_t from = bound(start, 0);
  const std::int64_t to = std::min(bound(end, size), size);
  if (from > size || from > to) return std::nullopt;
  const std::size_t first = byte_offset(text, static_cast<std::size_t>(from));
  const std::size_t last = byte_offset(text, static_cast<std::size_t>(to));
  return Part{std::string_view(text).substr(first, last - first), static_cast<std::size_t>(from)};
}

template <bool at_end>
Value has_affix(Machine&, const Value& self, Arguments& arguments) {
  const char* name = at_end ? "endswith" : "startswith";
  const auto values = bind(name, arguments, {{"affix"}, {"start", kNone}, {"end", kNone}});
  const std::optional<Part> part = part_of(self.as_text(), values[1], values[2]);
  const auto matches = [&](const Value& affix) {
    if (!affix.is_text()) {
      type_error("{} first arg must be str or a tuple of str, not {}", name, type_name(affix));
    }
    if (!part) return false;
    return at_end ? part->text.ends_with(affix.as_text()) : part->text.starts_with(affix.as_text());
  };
  if (!values[0].is_tuple()) return Value::boolean(matches(values[0]));
  const std::vector<Value>& affixes = values[0].items();
  return Value::boolean(std::any_of(affixes.begin(), affixes.end(), matches));
}

/// Where `needle` is in the part asked for, in characters; -1 if it is not.
std::int64_t find_in(const Value& self, Arguments& arguments, bool from_right) {
  const auto values = bind("find", arguments, {{"sub"}, {"start", kNone}, {"end", kNone}});
  if (!values[0].is_text()) type_error("must be str, not {}", type_name(values[0]));
  const std::optional<Part> part = part_of(self.as_text(), values[1], values[2]);
  if (!part) return -1;
  const std::string& needle = values[0].as_text();
  const std::size_t at = from_right ? part->text.rfind(needle) : part->text.find(needle);
  if (at == std::string_view::npos) return -1;
  return static_cast<std::int64_t>(part->before + count_characters(part->text.substr(0, at)));
}

template <bool from_right>
Value find(Machine&, const Value& self, Arguments& arguments) {
  return Value::integer(find_in(self, arguments, from_right));
}

template <bool from_right>
Value index(Machine&, const Value& self, Arguments& arguments) {
  const std::int64_t at = find_in(self, arguments, from_right);
  if (at < 0) value_error("substring not found");
  return Value::integer(at);
}

std::size_t count_in(std::string_view text, std::string_view needle) {
  if (needle.empty()) return count_characters(text) + 1;
  std::size_t count = 0;
  for (std::size_t at = 0; (at = text.find(needle, at)) != std::string_view::npos; ++count) {
    at += needle.size();
  }
  return count;
}

Value count_needles(Machine&, const Value& self, Arguments& arguments) {
  const auto values = bind("count", arguments, {{"sub"}, {"start", kNone}, {"end", kNone}});
  if (!values[0].is_text()) type_error("must be str, not {}", type_name(values[0]));
  const std::optional<Part> part = part_of(self.as_text(), values[1], values[2]);
  return Value::size(part ? count_in(part->text, values[0].as_text()) : 0);
}

Value join(Machine&, const Value& self, Arguments& arguments) {
  const Value iterable = bind("join", arguments, {{"iterable"}})[0];
  if (!is_iterable(iterable)) type_error("can only join an iterable");
  const std::vector<Value> items = iterate(iterable);
  std::string out;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (!items[i].is_text()) {
      type_error("sequence item {}: expected str instance, {} found", i, type_name(items[i]));
    }
    if (i > 0) out += self.as_text();
    const bool escape = self.is_markup() && !items[i].is_markup();
    out += escape ? escape_html(items[i].as_text()) : items[i].as_text();
    check_size(1, out.size());
  }
  return same(self, out);
}

Value remove_affix(Machine&, const Value& self, Arguments& arguments, bool at_end) {
  const std::string affix =
      text_argument("removeprefix", bind("remove", arguments, {{"affix"}})[0]);
  std::string_view text = self.as_text();
  if (at_end ? text.ends_with(affix) : text.starts_with(affix)) {
    text = at_end ? text.substr(0, text.size() - affix.size()) : text.substr(affix.size());
  }
  return same(self, text);
}

Value removeprefix(Machine& machine, const Value& self, Arguments& arguments) {
  return remove_affix(machine, self, arguments, false);
}
Value removesuffix(Machine& machine, const Value& self, Arguments& arguments) {
  return remove_affix(machine, self, arguments, true);
}

Value replace(Machine&, const Value& self, Arguments& arguments) {
  const auto values = bind("replace", arguments, {{"old"}, {"new"}, {"count", Value::integer(-1)}});
  const std::string& from = text_argument("replace", values[0]);
  std::string to = text_argument("replace", values[1]);
  if (self.is_markup() && !values[1].is_markup()) to = escape_html(to);
  return same(self, replace_text(self.as_text(), from, to, to_clamped_index(values[2])));
}

/// Fills up to a width with a character; `left`: how many of the missing ones go in front.
template <std::size_t (*left)(std::size_t missing, std::size_t width)>
Value justify(Machine&, const Value& self, Arguments& arguments) {
  const auto values = bind("center", arguments, {{"width"}, {"fillchar", Value::text(" ")}});
  const std::string fill = text_argument("center", values[1]);
  if (count_characters(fill) != 1) {
    type_error("The fill character must be exactly one character long");
  }
  const std::int64_t width = to_clamped_index(values[0]);
  const std::size_t size = count_characters(self.as_text());
  if (width <= static_cast<std::int64_t>(size)) return self;
  const std::size_t missing = static_cast<std::size_t>(width) - size;
  check_size(missing, fill.size());
  std::string before;
  std::string after;
  const std::size_t in_front = left(missing, static_cast<std::size_t>(width));
  for (std::size_t i = 0; i < missing; ++i) (i < in_front ? before : after) += fill;
  return same(self, before + self.as_text() + after);
}

std::size_t half(std::size_t missing, std::size_t width) {
  return missing / 2 + (missing & width & 1);  // as CPython rounds
}
std::size_t nothing(std::size_t, std::size_t) {
  return 0;
}
std::size_t everything(std::size_t missing, std::size_t) {
  return missing;
}

Value zfill(Machine&, const Value& self, Arguments& arguments) {
  const std::int64_t width = to_clamped_index(bind("zfill", arguments, {{"width"}})[0]);
  const std::string& text = self.as_text();
  const auto size = static_cast<std::int64_t>(count_characters(text));
  if (width <= size) return self;
  check_size(static_cast<std::size_t>(width - size), 1);
  const bool has_sign = text.starts_with('-') || text.starts_with('+');
  std::string out = text;
  out.insert(has_sign ? 1 : 0, static_cast<std::size_t>(width - size), '0');
  return same(self, out);
}

Value expandtabs(Machine&, const Value& self, Arguments& arguments) {
  const std::int64_t size =
      to_clamped_index(bind("expandtabs", arguments, {{"tabsize", Value::integer(8)}})[0]);
  std::string out;
  std::int64_t column = 0;
  for_each_character(self.as_text(), [&](std::string_view c) {
    if (c == "\t") {
      const std::int64_t blanks = size > 0 ? size - column % size : 0;
      check_size(1, out.size() + static_cast<std::size_t>(blanks));
      out.append(static_cast<std::size_t>(blanks), ' ');
      column += blanks;
    } else {
      out += c;
      column = c == "\n" || c == "\r" ? 0 : column + 1;
    }
  });
  return same(self, out);
}

Value format(Machine& machine, const Value& self, Arguments& arguments) {
  return format_text(machine, self, arguments);
}

Value format_map(Machine& machine, const Value& self, Arguments& arguments) {
  const Value mapping = bind("format_map", arguments, {{"mapping"}})[0];
  if (!mapping.is_dict()) type_error("'{}' object is not a mapping", type_name(mapping));
  Arguments named;
  for (const auto& [key, value] : mapping.as_dict().entries()) {
    if (key.is_text()) named.named.emplace_back(key.as_text(), value);
  }
  return format_text(machine, self, named);
}

bool is_identifier(std::string_view text) {
  const bool digit_first = !text.empty() && text[0] >= '0' && text[0] <= '9';
  return !digit_first &&
         all_characters(text, [](char32_t c) { return c == '_' || is_letter(c) || is_decimal(c); });
}
bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}
bool is_printable_text(std::string_view text) {
  return text.empty() || all_characters(text, is_printable);
}
bool is_title_text(std::string_view text) {
  const std::string title = to_title(text);
  return title == text && to_upper(text) != to_lower(text);
}
template <bool (*is)(char32_t)>
bool all(std::string_view text) {
  return all_characters(text, is);
}
bool is_letter_or_digit(char32_t c) {
  return is_letter(c) || is_decimal(c);
}

}  // namespace

namespace {

Value encode(Machine&, const Value&, Arguments&) {
  raise("NotImplementedError",
        "str.encode() is not supported: the values of templates have no bytes");
}

}  // namespace

const MethodTable& text_methods() {
  static const MethodTable kTable{
      {"encode", encode},
      {"strip", strip<Side::kBoth>},
      {"lstrip", strip<Side::kLeft>},
      {"rstrip", strip<Side::kRight>},
      {"split", split<split_words, split_at>},
      {"rsplit", split<split_words_right, split_at_right>},
      {"splitlines", splitlines},
      {"partition", partition<false>},
      {"rpartition", partition<true>},
      {"startswith", has_affix<false>},
      {"endswith", has_affix<true>},
      {"find", find<false>},
      {"rfind", find<true>},
      {"index", index<false>},
      {"rindex", index<true>},
      {"count", count_needles},
      {"join", join},
      {"replace", replace},
      {"removeprefix", removeprefix},
      {"removesuffix", removesuffix},
      {"upper", changed<to_upper>},
      {"lower", changed<to_lower>},
      {"casefold", changed<to_lower>},
      {"title", changed<to_title>},
      {"capitalize", changed<to_capitalized>},
      {"swapcase", changed<swap_case>},
      {"center", justify<half>},
      {"ljust", justify<nothing>},
      {"rjust", justify<everything>},
      {"zfill", zfill},
      {"expandtabs", expandtabs},
      {"format", format},
      {"format_map", format_map},
      {"isupper", tested<all_upper>},
      {"islower", tested<all_lower>},
      {"istitle", tested<is_title_text>},
      {"isspace", tested<all<is_space>>},
      {"isalpha", tested<all<is_letter>>},
      {"isalnum", tested<all<is_letter_or_digit>>},
      {"isdigit", tested<all<is_decimal>>},
      {"isdecimal", tested<all<is_decimal>>},
      {"isnumeric", tested<all<is_decimal>>},
      {"isascii", tested<is_ascii>},
      {"isidentifier", tested<is_identifier>},
      {"isprintable", tested<is_printable_text>},
  };
  return kTable;
}

Value format_text(Machine& machine, const Value& format, const Arguments& arguments) {
  const auto find_first = [&](std::string_view name, int& next_index) {
    const bool is_index = name.find_first_not_of("0123456789") == std::string_view::npos;
    if (!is_index) {
      for (const auto& [key, value] : arguments.named) {
        if (key == name) return value;
      }
      raise("KeyError", "{}", repr_text(name));
    }
    std::size_t at = 0;
    if (name.empty()) {
      if (next_index < 0) {
        value_error("cannot switch from manual field specification to automatic field numbering");
      }
      at = static_cast<std::size_t>(next_index++);
    } else {
      if (next_index > 0) {
        value_error("cannot switch from manual field specification to automatic field numbering");
      }
      next_index = -1;
      at = static_cast<std::size_t>(std::stoul(std::string(name.substr(0, 9))));
    }
    if (at >= arguments.positional.size()) {
      raise("IndexError", "tuple index out of range");
    }
    return arguments.positional[at];
  };
  const auto lookup = [&](std::string_view name, std::string_view rest, int& next_index) {
    Value value = find_first(name, next_index);
    while (!rest.empty()) {
      const bool item = rest[0] == '[';
      const std::size_t end =
          std::min(item ? rest.find(']') : rest.find_first_of(".[", 1), rest.size());
      const std::string key(rest.substr(1, end - 1));
      if (key.empty()) value_error("Empty attribute in format string");
      const bool is_index =
          item && key.size() < 10 && key.find_first_not_of("0123456789") == std::string::npos;
      value = is_index ? get_item(machine, value, Value::integer(std::stol(key)))
              : item   ? get_item(machine, value, Value::text(key))
                       : get_attribute(machine, value, key);
      rest.remove_prefix(std::min(end + (item ? 1 : 0), rest.size()));
    }
    return format.is_markup() && !value.is_markup() ? Value::text(escape_html(to_text(value)))
                                                    : value;
  };
  return same(format, format_fields(format.as_text(), lookup));
}

}  // namespace nibble::jinja
