// Python's two ways to put values into texts: "%s" % value and "{}".format(value).
#pragma once

#include <string>
#include <string_view>

#include "nibble/core/function_ref.h"
#include "nibble/template/values/value.h"

namespace nibble::jinja {

/// `format` % `values` (a tuple, a dict for %(name)s, or one value). Throws Raised.
std::string format_percent(const Value& format, const Value& values);

/// What a format specification asks for: [[fill]align][sign][#][0][width][,][.precision][type].
struct FormatSpec {
  std::string fill = " ";
  char align = '\0';  // '<', '>', '^', '='; 0: the type's own
  char sign = '-';    // '-', '+', ' '
  bool alternate = false;
  std::size_t width = 0;
  char grouping = '\0';  // ',' or '_'
  int precision = -1;    // -1: none
  char type = '\0';
};

/// Reads a specification as str.format() has it, for a value of the type named.
FormatSpec parse_spec(std::string_view text, const std::string& type_name);
/// format(value, spec). Throws Raised.
std::string format_value(const Value& value, const FormatSpec& spec);

/// The value of a field such as "0.name[key]"; the second part is what stands behind the name.
using FieldLookup =
    FunctionRef<Value(std::string_view name, std::string_view rest, int& next_index)>;

/// text.format(): fields are looked up by `lookup`. Throws Raised.
std::string format_fields(std::string_view text, FieldLookup lookup, int depth = 2);

/// The bounds of widths and precisions: more is nobody's table.
inline constexpr std::size_t kMaxWidth = 1'000'000;

}  // namespace nibble::jinja
