// Filters of numbers, and of values of any kind.
#include <cmath>

#include "nibble/template/builtins/filter_tables.h"
#include "nibble/template/builtins/methods.h"
#include "nibble/template/values/arithmetic.h"
#include "nibble/template/values/compare.h"
#include "nibble/template/values/numbers.h"
#include "nibble/template/values/raised.h"

namespace nibble::jinja {
namespace {

Value default_value(Machine&, Arguments& arguments) {
  const auto values =
      bind("do_default", arguments,
           {{"value"}, {"default_value", Value::text("")}, {"boolean", Value::boolean(false)}});
  const bool missing = values[0].is_undefined() || (truth(values[2]) && !truth(values[0]));
  return missing ? values[1] : values[0];
}

Value length_of(Machine&, Arguments& arguments) {
  return Value::size(length(bind("len", arguments, {{"obj"}})[0]));
}

/// What int(float(value)) gives, if anything.
std::optional<Int> cut_real(const Value& value) {
  std::optional<double> real;
  if (value.is_number()) real = value.as_real();
  if (value.is_text()) real = parse_real(value.as_text());
  if (!real || !std::isfinite(*real)) return std::nullopt;
  return truncate_real(*real);
}

Value to_integer(Machine&, Arguments& arguments) {
  const auto values =
      bind("do_int", arguments,
           {{"value"}, {"default", Value::integer(0)}, {"base", Value::integer(10)}});
  require_defined(values[0]);
  if (values[0].is_integer()) return Value::integer(values[0].as_integer());
  if (values[0].is_text()) {
    const std::int64_t base = to_clamped_index(values[2]);
    const bool known = base == 0 || (base >= 2 && base <= 36);
    const auto whole =
        known ? parse_integer(values[0].as_text(), static_cast<int>(base)) : std::nullopt;
    if (whole) return Value::integer(*whole);
  }
  if (values[0].is_real() && std::isinf(values[0].as_real())) {
    raise("OverflowError", "cannot convert float infinity to integer");
  }
  const std::optional<Int> cut = cut_real(values[0]);
  return cut ? Value::integer(*cut) : values[1];
}

Value to_real(Machine&, Arguments& arguments) {
  const auto values = bind("do_float", arguments, {{"value"}, {"default", Value::real(0)}});
  require_defined(values[0]);
  if (values[0].is_number()) return Value::real(values[0].as_real());
  const auto real = values[0].is_text() ? parse_real(values[0].as_text()) : std::nullopt;
  return real ? Value::real(*real) : values[1];
}

Value round_value(Machine&, Arguments& arguments) {
  const auto values =
      bind("do_round", arguments,
           {{"value"}, {"precision", Value::integer(0)}, {"method", Value::text("common")}});
  const std::string& method = text_argument("do_round", values[2]);
  if (method == "common") return round_number(values[0], values[1]);
  if (method != "ceil" && method != "floor") {
    raise("FilterArgumentError", "method must be common, ceil or floor");
  }
  const Value scale = power(Value::integer(10), values[1]);
  const Value scaled = multiply(values[0], scale);
  if (!scaled.is_number()) type_error("must be real number, not {}", type_name(scaled));
  const double whole =
      method == "ceil" ? std::ceil(scaled.as_real()) : std::floor(scaled.as_real());
  return divide(Value::integer(truncate_real(whole)), scale);
}

Value absolute_value(Machine&, Arguments& arguments) {
  return absolute(bind("abs", arguments, {{"x"}})[0]);
}

Value attribute(Machine& machine, Arguments& arguments) {
  const auto values = bind("do_attr", arguments, {{"obj"}, {"name"}});
  const std::string& name = text_argument("do_attr", values[1]);
  // Unlike a dot, this never falls back to items.
  if (values[0].is_dict() && !find_method(values[0], name) &&
      !is_hidden_attribute(values[0], name)) {
    return Value::undefined(fmt::format("'dict object' has no attribute '{}'", name));
  }
  return get_attribute(machine, values[0], name);
}

}  // namespace

const FilterTable& value_filters() {
  static const FilterTable kTable{
      {"default", default_value}, {"d", default_value},    {"length", length_of},
      {"count", length_of},       {"int", to_integer},     {"float", to_real},
      {"round", round_value},     {"abs", absolute_value}, {"attr", attribute}};
  return kTable;
}

}  // namespace nibble::jinja
