// Truth, equality, order, membership and hashes, as Python has them.
#pragma once

#include <cstddef>
#include <vector>

#include "nibble/template/values/value.h"

namespace nibble::jinja {

bool truth(const Value& value);

bool equal(const Value& a, const Value& b);

// The order. Each throws Raised for what Python does not order.
bool less(const Value& a, const Value& b);
bool less_equal(const Value& a, const Value& b);
bool greater(const Value& a, const Value& b);
bool greater_equal(const Value& a, const Value& b);

/// needle in haystack.
bool contains(const Value& haystack, const Value& needle);

/// Throws Raised for what cannot be a key.
std::size_t hash_value(const Value& value);

/// Python's type(x).__name__.
std::string type_name(const Value& value);
/// What Jinja's messages call it: "dict object", "None".
std::string described(const Value& value);

/// Nothing where Python's len() fails.
std::optional<std::size_t> find_length(const Value& value);
/// len(). Throws Raised.
std::size_t length(const Value& value);

bool is_iterable(const Value& value);
/// The items that a loop over the value sees. Throws Raised for what is not iterable.
std::vector<Value> iterate(const Value& value);

/// Throws what using an undefined value throws, if `value` is one.
void require_defined(const Value& value);
[[noreturn]] void raise_undefined(const Undefined& undefined);

}  // namespace nibble::jinja
