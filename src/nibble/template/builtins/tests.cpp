// The tests: `value is name`.
#include <unordered_map>

#include "nibble/template/builtins/filters.h"
#include "nibble/template/builtins/methods.h"
#include "nibble/template/values/arithmetic.h"
#include "nibble/template/values/characters.h"
#include "nibble/template/values/compare.h"
#include "nibble/template/values/raised.h"
#include "nibble/template/values/show.h"

namespace nibble::jinja {
namespace {

template <bool (*is)(const Value&)>
bool of_one(Machine&, Arguments& arguments) {
  return is(bind("test", arguments, {{"value"}})[0]);
}

template <bool (*are)(const Value&, const Value&)>
bool of_two(Machine&, Arguments& arguments) {
  const auto values = bind("test", arguments, {{"value"}, {"other"}});
  return are(values[0], values[1]);
}

bool rest_is(const Value& value, const Value& divisor, Int rest) {
  return equal(modulo(value, divisor), Value::integer(rest));
}
bool odd(const Value& value) {
  return rest_is(value, Value::integer(2), 1);
}
bool even(const Value& value) {
  return rest_is(value, Value::integer(2), 0);
}
bool divisible(const Value& value, const Value& divisor) {
  return rest_is(value, divisor, 0);
}

bool defined(const Value& value) {
  return !value.is_undefined();
}
bool undefined(const Value& value) {
  return value.is_undefined();
}
bool none(const Value& value) {
  return value.is_none();
}
bool boolean(const Value& value) {
  return value.is_bool();
}
bool is_true(const Value& value) {
  return value.is_bool() && value.as_bool();
}
bool is_false(const Value& value) {
  return value.is_bool() && !value.as_bool();
}
bool integer(const Value& value) {
  return value.is_integer() && !value.is_bool();
}
bool real(const Value& value) {
  return value.is_real();
}
bool number(const Value& value) {
  return value.is_number();
}
bool string(const Value& value) {
  return value.is_text();
}
bool mapping(const Value& value) {
  return value.is_dict();
}
bool sequence(const Value& value) {
  if (value.is_object()) return value.as_object().subscriptable();
  return find_length(value).has_value();
}
bool callable(const Value& value) {
  return value.is_undefined() || (value.is_object() && value.as_object().callable());
}
bool lower(const Value& value) {
  return all_lower(to_text(value));
}
bool upper(const Value& value) {
  return all_upper(to_text(value));
}
bool escaped(const Value& value) {
  return value.is_markup();
}
bool filter(const Value& value) {
  return value.is_text() && find_filter(value.as_text()) != nullptr;
}
bool test(const Value& value) {
  return value.is_text() && find_test(value.as_text()) != nullptr;
}

bool same(const Value& a, const Value& b) {
  return a.is_same(b);
}
bool in(const Value& needle, const Value& haystack) {
  return contains(haystack, needle);
}
bool not_equal(const Value& a, const Value& b) {
  return !equal(a, b);
}

}  // namespace

Test find_test(const std::string& name) {
  static const std::unordered_map<std::string, Test> kTable{{"odd", of_one<odd>},
                                                            {"even", of_one<even>},
                                                            {"divisibleby", of_two<divisible>},
                                                            {"defined", of_one<defined>},
                                                            {"undefined", of_one<undefined>},
                                                            {"none", of_one<none>},
                                                            {"boolean", of_one<boolean>},
                                                            {"true", of_one<is_true>},
                                                            {"false", of_one<is_false>},
                                                            {"integer", of_one<integer>},
                                                            {"float", of_one<real>},
                                                            {"number", of_one<number>},
                                                            {"string", of_one<string>},
                                                            {"mapping", of_one<mapping>},
                                                            {"sequence", of_one<sequence>},
                                                            {"iterable", of_one<is_iterable>},
                                                            {"callable", of_one<callable>},
                                                            {"lower", of_one<lower>},
                                                            {"upper", of_one<upper>},
                                                            {"escaped", of_one<escaped>},
                                                            {"filter", of_one<filter>},
                                                            {"test", of_one<test>},
                                                            {"sameas", of_two<same>},
                                                            {"in", of_two<in>},
                                                            {"==", of_two<equal>},
                                                            {"eq", of_two<equal>},
                                                            {"equalto", of_two<equal>},
                                                            {"!=", of_two<not_equal>},
                                                            {"ne", of_two<not_equal>},
                                                            {"<", of_two<less>},
                                                            {"lt", of_two<less>},
                                                            {"lessthan", of_two<less>},
                                                            {"<=", of_two<less_equal>},
                                                            {"le", of_two<less_equal>},
                                                            {">", of_two<greater>},
                                                            {"gt", of_two<greater>},
                                                            {"greaterthan", of_two<greater>},
                                                            {">=", of_two<greater_equal>},
                                                            {"ge", of_two<greater_equal>}};
  const auto found = kTable.find(name);
  return found == kTable.end() ? nullptr : found->second;
}

}  // namespace nibble::jinja
