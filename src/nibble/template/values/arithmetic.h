// The operators of templates, with Python's rules and messages.
#pragma once

#include "nibble/template/values/value.h"

namespace nibble::jinja {

Value add(const Value& a, const Value& b);
Value subtract(const Value& a, const Value& b);
Value multiply(const Value& a, const Value& b);
Value divide(const Value& a, const Value& b);
Value floor_divide(const Value& a, const Value& b);
Value modulo(const Value& a, const Value& b);  // of a text: printf-like formatting
Value power(const Value& a, const Value& b);

Value negate(const Value& value);
Value posit(const Value& value);  // +x
Value absolute(const Value& value);
/// round(x, digits); without digits an integer.
Value round_number(const Value& value, const std::optional<Value>& digits);

/// The integer that a real number is cut to. Throws Raised for infinities, NaN and what is too
/// large.
Int truncate_real(double value);
/// An integer argument. Throws Raised for other kinds ("'str' object cannot be interpreted as an
/// integer").
Int to_index(const Value& value);
/// The same, of the range of std::int64_t (beyond: its ends).
std::int64_t to_clamped_index(const Value& value);

}  // namespace nibble::jinja
