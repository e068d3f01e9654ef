// Values as text: Python's str() and repr(), json.dumps(), and number formatting.
#pragma once

#include <string>
#include <string_view>

#include "nibble/template/values/value.h"

namespace nibble::jinja {

/// str(): what `{{ value }}` prints.
std::string to_text(const Value& value);
/// The text itself where `value` is one, else what to_text() gives, kept in `buffer`.
const std::string& to_text(const Value& value, std::string& buffer);

std::string repr(const Value& value);
std::string repr_text(std::string_view text);

/// The shortest digits that read back as the same number, with ".0" or an exponent.
std::string real_to_text(double value);

struct JsonStyle {
  std::string indent;       // of one level; used if `lines`
  bool lines = false;       // an item a line
  std::string item = ", ";  // between items
  std::string key = ": ";   // behind keys
  bool ascii = false;       // other characters as \uXXXX
  bool sort_keys = false;
};

/// json.dumps(). Throws Raised for what JSON has no form for.
std::string to_json(const Value& value, const JsonStyle& style);

/// & < > ' and " as HTML entities.
std::string escape_html(std::string_view text);

}  // namespace nibble::jinja
