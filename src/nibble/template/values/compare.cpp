#include "nibble/template/values/compare.h"

#include <algorithm>
#include <functional>

#include "nibble/template/values/characters.h"
#include "nibble/template/values/raised.h"

namespace nibble::jinja {
namespace {

using Kind = Value::Kind;

bool equal_items(const std::vector<Value>& a, const std::vector<Value>& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), equal);
}

bool equal_dicts(const Dict& a, const Dict& b) {
  if (a.size() != b.size()) return false;
  return std::all_of(a.entries().begin(), a.entries().end(), [&](const Dict::Entry& entry) {
    const Value* other = b.find(entry.first);
    return other != nullptr && equal(entry.second, *other);
  });
}

bool equal_numbers(const Value& a, const Value& b) {
  if (a.is_integer() && b.is_integer()) return a.as_integer() == b.as_integer();
  return a.as_real() == b.as_real();
}

[[noreturn]] void not_ordered(const Value& a, const Value& b, const char* sign) {
  require_defined(a);
  require_defined(b);
  type_error("'{}' not supported between instances of '{}' and '{}'", sign, type_name(a),
             type_name(b));
}

/// The place of the first difference; the shorter size if there is none.
std::size_t mismatch(const std::vector<Value>& a, const std::vector<Value>& b) {
  std::size_t at = 0;
  while (at < a.size() && at < b.size() && equal(a[at], b[at])) ++at;
  return at;
}

/// compare(a, b) of two values of a kind that has an order; `sign` is what a message calls it.
template <typename Compare>
bool ordered(const Value& a, const Value& b, const char* sign, Compare compare) {
  count_steps(1);
  if (a.is_sequence() && b.is_sequence() && a.is_tuple() == b.is_tuple()) {
    const std::size_t at = mismatch(a.items(), b.items());
    if (at == a.items().size() || at == b.items().size()) {
      return compare(a.items().size(), b.items().size());
    }
    return ordered(a.items()[at], b.items()[at], sign, compare);
  }
  if (a.is_integer() && b.is_integer()) return compare(a.as_integer(), b.as_integer());
  if (a.is_number() && b.is_number()) return compare(a.as_real(), b.as_real());
  if (a.is_text() && b.is_text()) return compare(a.as_text(), b.as_text());
  not_ordered(a, b, sign);
}

std::size_t combine(std::size_t seed, std::size_t hash) {
  return seed ^ (hash + 0x9E3779B97F4A7C15u + (seed << 6) + (seed >> 2));
}

std::size_t hash_number(const Value& value) {
  const double real = value.as_real();
  return std::hash<double>()(real == 0 ? 0.0 : real);
}

}  // namespace

void raise_undefined(const Undefined& undefined) {
  throw Raised(undefined.unsafe ? "SecurityError" : "UndefinedError", undefined.message);
}

void require_defined(const Value& value) {
  if (value.is_undefined()) raise_undefined(value.as_undefined());
}

bool truth(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return value.as_integer() != 0;
    case Kind::kFloat:
      return value.as_real() != 0;
    case Kind::kText:
      return !value.as_text().empty();
    case Kind::kSequence:
      return !value.items().empty();
    case Kind::kDict:
      return value.as_dict().size() != 0;
    case Kind::kObject:
      return value.as_object().truth();
  }
  return false;
}

bool equal(const Value& a, const Value& b) {
  count_steps(1);
  if (a.is_number() && b.is_number()) return equal_numbers(a, b);
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kText:
      return a.as_text() == b.as_text();
    case Kind::kSequence:
      return a.is_tuple() == b.is_tuple() && equal_items(a.items(), b.items());
    case Kind::kDict:
      return equal_dicts(a.as_dict(), b.as_dict());
    case Kind::kObject:
      return &a.as_object() == &b.as_object();
    default:  // None equals None, and one undefined value another
      return true;
  }
}

bool less(const Value& a, const Value& b) {
  return ordered(a, b, "<", std::less<>());
}
bool less_equal(const Value& a, const Value& b) {
  return ordered(a, b, "<=", std::less_equal<>());
}
bool greater(const Value& a, const Value& b) {
  return ordered(a, b, ">", std::greater<>());
}
bool greater_equal(const Value& a, const Value& b) {
  return ordered(a, b, ">=", std::greater_equal<>());
}

bool contains(const Value& haystack, const Value& needle) {
  if (haystack.is_text()) {
    if (!needle.is_text()) {
      type_error("'in <string>' requires string as left operand, not {}", type_name(needle));
    }
    count_bytes(haystack.as_text().size());
    return haystack.as_text().find(needle.as_text()) != std::string::npos;
  }
  if (haystack.is_dict()) return haystack.as_dict().find(needle) != nullptr;
  const auto matches = [&](const Value& item) { return equal(item, needle); };
  if (haystack.is_sequence()) {
    return std::any_of(haystack.items().begin(), haystack.items().end(), matches);
  }
  if (!is_iterable(haystack)) {
    type_error("argument of type '{}' is not iterable", type_name(haystack));
  }
  const std::vector<Value> items = iterate(haystack);
  return std::any_of(items.begin(), items.end(), matches);
}

std::size_t hash_value(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return 1;
    case Kind::kBool:
    case Kind::kInt:
    case Kind::kFloat:
      return hash_number(value);
    case Kind::kText:
      return std::hash<std::string>()(value.as_text());
    case Kind::kObject:
      return std::hash<const void*>()(&value.as_object());
    case Kind::kSequence:
      if (value.is_tuple()) {
        std::size_t hash = value.items().size();
        for (const Value& item : value.items()) hash = combine(hash, hash_value(item));
        return hash;
      }
      [[fallthrough]];
    case Kind::kDict:
      break;
  }
  type_error("unhashable type: '{}'", type_name(value));
}

std::string type_name(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return "Undefined";
    case Kind::kNone:
      return "NoneType";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kText:
      return value.is_markup() ? "Markup" : "str";
    case Kind::kSequence:
      return value.is_tuple() ? "tuple" : "list";
    case Kind::kDict:
      return "dict";
    case Kind::kObject:
      return value.as_object().type_name();
  }
  return "";
}

std::string described(const Value& value) {
  if (value.is_none()) return "None";
  if (value.is_markup()) return "markupsafe.Markup object";
  return value.is_object() ? value.as_object().described() : type_name(value) + " object";
}

std::optional<std::size_t> find_length(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return 0;
    case Kind::kText:
      return count_characters(value.as_text());
    case Kind::kSequence:
      return value.items().size();
    case Kind::kDict:
      return value.as_dict().size();
    case Kind::kObject:
      return value.as_object().length();
    default:
      return std::nullopt;
  }
}

std::size_t length(const Value& value) {
  const std::optional<std::size_t> found = find_length(value);
  if (!found) type_error("object of type '{}' has no len()", type_name(value));
  return *found;
}

bool is_iterable(const Value& value) {
  if (value.is_object()) return value.as_object().iterable();
  return value.is_undefined() || value.is_text() || value.is_sequence() || value.is_dict();
}

std::vector<Value> iterate(const Value& value) {
  if (!is_iterable(value)) type_error("'{}' object is not iterable", type_name(value));
  if (value.is_sequence()) {
    count_steps(static_cast<std::int64_t>(value.items().size()));
    return value.items();
  }
  if (value.is_object()) return value.as_object().take_items();
  std::vector<Value> items;
  if (value.is_dict()) {
    for (const auto& [key, unused] : value.as_dict().entries()) items.push_back(key);
  }
  if (value.is_text()) {
    check_size(value.as_text().size(), sizeof(Value) + sizeof(Text));
    for_each_character(value.as_text(), [&](std::string_view character) {
      items.push_back(Value::text(std::string(character)));
    });
  }
  return items;
}

}  // namespace nibble::jinja
