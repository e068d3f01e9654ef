// Filters that make texts.
#include <algorithm>

#include "nibble/template/builtins/filter_tables.h"
#include "nibble/template/builtins/methods.h"
#include "nibble/template/values/arithmetic.h"
#include "nibble/template/values/characters.h"
#include "nibble/template/values/compare.h"
#include "nibble/template/values/format.h"
#include "nibble/template/values/raised.h"
#include "nibble/template/values/show.h"

namespace nibble::jinja {
namespace {

/// A text made of `value`, marked safe if that was.
Value like(const Value& value, std::string text) {
  return Value::text(std::move(text), value.is_markup());
}

template <std::string (*change)(std::string_view)>
Value changed(Machine&, Arguments& arguments) {
  const Value value = bind("filter", arguments, {{"s"}})[0];
  std::string buffer;
  return like(value, change(to_text(value, buffer)));
}

/// Words begin behind blanks and opening brackets, not behind quotes as with str.title().
std::string title_words(std::string_view text) {
  static constexpr std::string_view kBefore = "-({[<";
  std::string out;
  std::string word;
  const auto end_word = [&] {
    if (word.empty()) return;
    const std::size_t first = utf8_length(word[0]);
    out += to_upper(std::string_view(word).substr(0, first));
    out += to_lower(std::string_view(word).substr(first));
    word.clear();
  };
  for_each_character(text, [&](std::string_view c) {
    const bool before = (c.size() == 1 && kBefore.find(c[0]) != std::string_view::npos) ||
                        is_space(front_code_point(c));
    if (before) end_word();
    (before ? out : word) += c;
  });
  end_word();
  return out;
}

Value trim(Machine&, Arguments& arguments) {
  const auto values = bind("do_trim", arguments, {{"value"}, {"chars", kNone}});
  std::string buffer;
  const std::string_view text = to_text(values[0], buffer);
  if (values[1].is_none()) return like(values[0], std::string(strip_right(strip_left(text))));
  if (!values[1].is_text()) type_error("strip arg must be None or str");
  const std::string& set = values[1].as_text();
  return like(values[0], std::string(strip_right(strip_left(text, set), set)));
}

Value replace(Machine&, Arguments& arguments) {
  const auto values = bind("do_replace", arguments, {{"s"}, {"old"}, {"new"}, {"count", kNone}});
  const std::int64_t limit = values[3].is_none() ? -1 : to_clamped_index(values[3]);
  const std::string text = to_text(values[0]);
  return Value::text(replace_text(text, to_text(values[1]), to_text(values[2]), limit));
}

Value indent(Machine&, Arguments& arguments) {
  const auto values = bind("do_indent", arguments,
                           {{"s"},
                            {"width", Value::integer(4)},
                            {"first", Value::boolean(false)},
                            {"blank", Value::boolean(false)}});
  const std::string indention =
      values[1].is_text() ? values[1].as_text() : multiply(Value::text(" "), values[1]).as_text();
  require_defined(values[0]);
  if (values[0].is_list()) {  // to which Python can add a text
    raise("AttributeError", "'list' object has no attribute 'splitlines'");
  }
  if (!values[0].is_text()) {
    type_error("unsupported operand type(s) for +=: '{}' and 'str'", type_name(values[0]));
  }
  const Value with_end = add(values[0], Value::text("\n"));
  const auto lines = split_lines(with_end.as_text());
  check_size(lines.size(), indention.size());
  const bool blank = truth(values[3]);
  std::string out = truth(values[2]) ? indention : "";
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out += '\n';
    if (i > 0 && (blank || !lines[i].empty())) out += indention;
    out += lines[i];
  }
  return like(values[0], std::move(out));
}

JsonStyle json_style(const std::vector<Value>& values) {
  JsonStyle style{.ascii = truth(values[1]), .sort_keys = truth(values[4])};
  if (!values[2].is_none()) {
    style.lines = true;
    style.item = ",";
    style.indent =
        values[2].is_text() ? values[2].as_text() : multiply(Value::text(" "), values[2]).as_text();
  }
  if (!values[3].is_none()) {
    const std::vector<Value> pair = iterate(values[3]);
    if (pair.size() != 2) value_error("separators must be a pair of texts");
    style.item = text_argument("tojson", pair[0]);
    style.key = text_argument("tojson", pair[1]);
  }
  return style;
}

Value tojson(Machine&, Arguments& arguments) {
  const auto values = bind("tojson", arguments,
                           {{"x"},
                            {"ensure_ascii", Value::boolean(false)},
                            {"indent", kNone},
                            {"separators", kNone},
                            {"sort_keys", Value::boolean(false)}});
  return Value::text(to_json(values[0], json_style(values)));
}

Value string(Machine&, Arguments& arguments) {
  const Value value = bind("soft_str", arguments, {{"s"}})[0];
  return value.is_text() ? value : Value::text(to_text(value));
}

Value safe(Machine&, Arguments& arguments) {
  return Value::text(to_text(bind("do_mark_safe", arguments, {{"value"}})[0]), true);
}

Value escape(Machine&, Arguments& arguments) {
  const Value value = bind("escape", arguments, {{"s"}})[0];
  return value.is_markup() ? value : Value::text(escape_html(to_text(value)), true);
}

Value forceescape(Machine&, Arguments& arguments) {
  return Value::text(escape_html(to_text(bind("forceescape", arguments, {{"value"}})[0])), true);
}

Value center(Machine& machine, Arguments& arguments) {
  const auto values = bind("do_center", arguments, {{"value"}, {"width", Value::integer(80)}});
  Arguments width{.positional = {values[1]}, .named = {}};
  const Value text = values[0].is_text() ? values[0] : Value::text(to_text(values[0]));
  return call(machine, *find_method(text, "center"), width);
}

Value truncate(Machine&, Arguments& arguments) {
  const auto values = bind("do_truncate", arguments,
                           {{"s"},
                            {"length", Value::integer(255)},
                            {"killwords", Value::boolean(false)},
                            {"end", Value::text("...")},
                            {"leeway", kNone}});
  const std::string& end = text_argument("do_truncate", values[3]);
  const std::int64_t length = to_clamped_index(values[1]);
  const std::int64_t leeway = values[4].is_none() ? 5 : to_clamped_index(values[4]);
  const auto end_size = static_cast<std::int64_t>(count_characters(end));
  if (length < end_size) {
    raise("AssertionError", "expected length >= {}, got {}", end_size, length);
  }
  if (leeway < 0) raise("AssertionError", "expected leeway >= 0, got {}", leeway);
  const auto size = static_cast<std::int64_t>(jinja::length(values[0]));
  if (size <= std::max(length, length + std::min(leeway, INT64_MAX - length))) return values[0];
  const std::string& text = text_argument("do_truncate", values[0]);
  std::string kept = text.substr(0, byte_offset(text, static_cast<std::size_t>(length - end_size)));
  if (!truth(values[2])) kept.resize(std::min(kept.rfind(' '), kept.size()));
  return like(values[0], kept + end);
}

Value wordcount(Machine&, Arguments& arguments) {
  const std::string text = to_text(bind("do_wordcount", arguments, {{"s"}})[0]);
  Int words = 0;
  bool in_word = false;
  for (const char32_t c : code_points(text)) {
    const bool part = c == '_' || is_letter(c) || is_decimal(c);
    if (part && !in_word) ++words;
    in_word = part;
  }
  return Value::integer(words);
}

Value format(Machine&, Arguments& arguments) {
  if (arguments.positional.empty())
    type_error("do_format() missing 1 required positional argument: 'value'");
  const Value format = arguments.positional[0];
  std::vector<Value> rest(arguments.positional.begin() + 1, arguments.positional.end());
  if (!rest.empty() && !arguments.named.empty()) {
    raise("FilterArgumentError", "can't handle positional and keyword arguments at the same time");
  }
  Dict named;
  for (const auto& [name, value] : arguments.named) named.set(name, value);
  const Value values =
      named.size() > 0 ? Value::dict(std::move(named)) : Value::tuple(std::move(rest));
  return modulo(format.is_text() ? format : Value::text(to_text(format)), values);
}

/// `text` as part of a URL: bytes but letters, digits, "_.-~" and those of `safe` as %XX.
std::string quote_url(std::string_view text, std::string_view safe) {
  constexpr std::string_view kAlways = "_.-~";
  std::string out;
  for (const char c : text) {
    const bool is_word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    const bool is_safe = is_word || kAlways.find(c) != std::string_view::npos ||
                         safe.find(c) != std::string_view::npos;
    out += is_safe ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  check_size(1, out.size());
  return out;
}

/// Of a name or value of a query: a blank is "+".
std::string quote_query(const Value& value) {
  std::string quoted = quote_url(to_text(value), " ");
  std::replace(quoted.begin(), quoted.end(), ' ', '+');
  return quoted;
}

Value urlencode(Machine&, Arguments& arguments) {
  const Value value = bind("do_urlencode", arguments, {{"value"}})[0];
  if (value.is_text() || !is_iterable(value)) return Value::text(quote_url(to_text(value), "/"));
  std::string out;
  const auto add = [&](const Value& name, const Value& of) {
    out += fmt::format("{}{}={}", out.empty() ? "" : "&", quote_query(name), quote_query(of));
    check_size(1, out.size());
  };
  if (value.is_dict()) {
    for (const auto& [name, of] : value.as_dict().entries()) add(name, of);
    return Value::text(std::move(out));
  }
  for (const Value& pair : iterate(value)) {
    if (!is_iterable(pair)) type_error("cannot unpack non-iterable {} object", type_name(pair));
    const std::vector<Value> both = iterate(pair);
    if (both.size() > 2) value_error("too many values to unpack (expected 2)");
    if (both.size() < 2) {
      value_error("not enough values to unpack (expected 2, got {})", both.size());
    }
    add(both[0], both[1]);
  }
  return Value::text(std::move(out));
}

Value join(Machine& machine, Arguments& arguments) {
  const auto values =
      bind("do_join", arguments, {{"value"}, {"d", Value::text("")}, {"attribute", kNone}});
  const std::string between = to_text(values[1]);
  std::string out;
  std::string buffer;
  bool first = true;
  for (const Value& item : iterate(values[0])) {
    if (!first) out += between;
    first = false;
    out += to_text(values[2].is_none() ? item : get_path(machine, item, values[2]), buffer);
    check_size(1, out.size());
  }
  return Value::text(std::move(out));
}

}  // namespace

const FilterTable& text_filters() {
  static const FilterTable kTable{{"upper", changed<to_upper>},
                                  {"lower", changed<to_lower>},
                                  {"capitalize", changed<to_capitalized>},
                                  {"title", changed<title_words>},
                                  {"trim", trim},
                                  {"replace", replace},
                                  {"indent", indent},
                                  {"tojson", tojson},
                                  {"string", string},
                                  {"safe", safe},
                                  {"escape", escape},
                                  {"e", escape},
                                  {"forceescape", forceescape},
                                  {"center", center},
                                  {"truncate", truncate},
                                  {"wordcount", wordcount},
                                  {"format", format},
                                  {"urlencode", urlencode},
                                  {"join", join}};
  return kTable;
}

}  // namespace nibble::jinja
