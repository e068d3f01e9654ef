#include "nibble/template/values/show.h"

#include <algorithm>
#include <cmath>

#include "nibble/template/values/characters.h"
#include "nibble/template/values/compare.h"
#include "nibble/template/values/raised.h"

namespace nibble::jinja {
namespace {

/// Calls `write(i)` for 0..count-1 with `between` between.
template <typename Write>
void write_joined(std::string& out, std::size_t count, std::string_view between, Write write) {
  for (std::size_t i = 0; i < count; ++i) {
    if (i > 0) out += between;
    write(i);
  }
}

void append_repr(std::string& out, const Value& value);

void append_sequence(std::string& out, const Value& value) {
  const std::vector<Value>& items = value.items();
  out += value.is_tuple() ? '(' : '[';
  write_joined(out, items.size(), ", ", [&](std::size_t i) { append_repr(out, items[i]); });
  if (value.is_tuple() && items.size() == 1) out += ',';
  out += value.is_tuple() ? ')' : ']';
}

void append_dict(std::string& out, const Dict& dict) {
  out += '{';
  write_joined(out, dict.size(), ", ", [&](std::size_t i) {
    append_repr(out, dict.entries()[i].first);
    out += ": ";
    append_repr(out, dict.entries()[i].second);
  });
  out += '}';
}

/// Counts a value shown inside another: objects that change can hold each other without end.
class Nested {
 public:
  Nested() {
    if (++level_ > 2 * kMaxValueDepth) {
      --level_;
      raise("RecursionError",
            "maximum recursion depth exceeded while getting the repr of an object");
    }
  }
  ~Nested() { --level_; }
  Nested(const Nested&) = delete;
  Nested& operator=(const Nested&) = delete;

 private:
  static thread_local int level_;
};

thread_local int Nested::level_ = 0;

void append_repr(std::string& out, const Value& value) {
  count_steps(1);
  const Nested nested;
  // Values may share parts many times over: what is written may be far larger than they are.
  check_size(1, out.size());
  switch (value.kind()) {
    case Value::Kind::kUndefined:
      out += "Undefined";
      break;
    case Value::Kind::kNone:
      out += "None";
      break;
    case Value::Kind::kBool:
      out += value.as_bool() ? "True" : "False";
      break;
    case Value::Kind::kInt:
      out += fmt::format("{}", value.as_integer());
      break;
    case Value::Kind::kFloat:
      out += real_to_text(value.as_real());
      break;
    case Value::Kind::kText:
      if (value.is_markup()) {
        out += "Markup(" + repr_text(value.as_text()) + ")";
      } else {
        out += repr_text(value.as_text());
      }
      break;
    case Value::Kind::kSequence:
      append_sequence(out, value);
      break;
    case Value::Kind::kDict:
      append_dict(out, value.as_dict());
      break;
    case Value::Kind::kObject:
      out += value.as_object().repr();
      break;
  }
}

void append_escaped_point(std::string& out, char32_t c) {
  const auto code = static_cast<unsigned>(c);
  if (code <= 0xFF) {
    out += fmt::format("\\x{:02x}", code);
  } else if (code <= 0xFFFF) {
    out += fmt::format("\\u{:04x}", code);
  } else {
    out += fmt::format("\\U{:08x}", code);
  }
}

void append_repr_character(std::string& out, std::string_view character, char quote) {
  switch (character[0]) {
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    case '\\':
      out += "\\\\";
      return;
    default:
      break;
  }
  const char32_t c = front_code_point(character);
  if (character[0] == quote) {
    out += '\\';
    out += quote;
  } else if (is_printable(c)) {
    out += character;
  } else {
    append_escaped_point(out, c);
  }
}

/// One json.dumps() under way.
class JsonWriter {
 public:
  explicit JsonWriter(const JsonStyle& style) : style_(style) {}

  void write(const Value& value, int level) {
    count_steps(1);
    check_size(1, out_.size());
    switch (value.kind()) {
      case Value::Kind::kNone:
        out_ += "null";
        break;
      case Value::Kind::kBool:
        out_ += value.as_bool() ? "true" : "false";
        break;
      case Value::Kind::kInt:
        out_ += fmt::format("{}", value.as_integer());
        break;
      case Value::Kind::kFloat:
        out_ += number(value.as_real());
        break;
      case Value::Kind::kText:
        write_text(value.as_text());
        break;
      case Value::Kind::kSequence:
        write_list(value.items(), level);
        break;
      case Value::Kind::kDict:
        write_dict(value.as_dict(), level);
        break;
      default:
        type_error("Object of type {} is not JSON serializable", type_name(value));
    }
  }

  std::string take() { return std::move(out_); }

 private:
  static std::string number(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
    return real_to_text(value);
  }

  void new_line(int level) {
    if (!style_.lines) return;
    out_ += '\n';
    check_size(static_cast<std::size_t>(level), style_.indent.size());
    for (int i = 0; i < level; ++i) out_ += style_.indent;
  }

  void write_list(const std::vector<Value>& items, int level) {
    if (items.empty()) {
      out_ += "[]";
      return;
    }
    out_ += '[';
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_ += style_.item;
      new_line(level + 1);
      write(items[i], level + 1);
    }
    new_line(level);
    out_ += ']';
  }

  void write_dict(const Dict& dict, int level) {
    if (dict.size() == 0) {
      out_ += "{}";
      return;
    }
    std::vector<Dict::Entry> sorted;
    if (style_.sort_keys) {
      sorted = dict.entries();
      std::stable_sort(sorted.begin(), sorted.end(),
                       [](const auto& a, const auto& b) { return less(a.first, b.first); });
    }
    const std::vector<Dict::Entry>& entries = style_.sort_keys ? sorted : dict.entries();
    out_ += '{';
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) out_ += style_.item;
      new_line(level + 1);
      write_key(entries[i].first);
      out_ += style_.key;
      write(entries[i].second, level + 1);
    }
    new_line(level);
    out_ += '}';
  }

  void write_key(const Value& key) {
    if (key.is_text()) return write_text(key.as_text());
    if (!key.is_number() && !key.is_none()) {
      type_error("keys must be str, int, float, bool or None, not {}", type_name(key));
    }
    out_ += '"';
    write(key, 0);
    out_ += '"';
  }

  void write_text(std::string_view text) {
    count_bytes(text.size());
    out_ += '"';
    for_each_character(text, [&](std::string_view character) { write_character(character); });
    out_ += '"';
  }

  void write_character(std::string_view character) {
    static constexpr std::string_view kNamed = "\"\\\n\r\t\f\b";
    static constexpr std::string_view kNames = "\"\\nrtfb";
    if (const std::size_t at = kNamed.find(character[0]); at != std::string_view::npos) {
      out_ += '\\';
      out_ += kNames[at];
      return;
    }
    const char32_t c = front_code_point(character);
    if (c >= 0x20 && (!style_.ascii || c < 0x7F)) {
      out_ += character;
    } else if (c < 0x10000) {
      out_ += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      const auto pair = static_cast<unsigned>(c) - 0x10000;
      out_ += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (pair >> 10), 0xDC00 + (pair & 0x3FF));
    }
  }

  const JsonStyle& style_;
  std::string out_;
};

}  // namespace

std::string real_to_text(double value) {
  std::string text = fmt::format("{}", value);
  if (std::isnan(value)) return "nan";
  const bool whole = text.find_first_not_of("-0123456789") == std::string::npos;
  return whole ? text + ".0" : text;
}

std::string repr_text(std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const char quote = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
  std::string out(1, quote);
  for_each_character(text, [&](std::string_view c) { append_repr_character(out, c, quote); });
  return out += quote;
}

std::string repr(const Value& value) {
  std::string out;
  append_repr(out, value);
  return out;
}

std::string to_text(const Value& value) {
  if (value.is_text()) return value.as_text();
  return value.is_undefined() ? std::string() : repr(value);
}

const std::string& to_text(const Value& value, std::string& buffer) {
  return value.is_text() ? value.as_text() : buffer = to_text(value);
}

std::string to_json(const Value& value, const JsonStyle& style) {
  JsonWriter writer(style);
  writer.write(value, 0);
  return writer.take();
}

std::string escape_html(std::string_view text) {
  count_bytes(text.size());
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '"':
        out += "&#34;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace nibble::jinja
