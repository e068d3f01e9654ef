#include "nibble/template/values/arithmetic.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "nibble/template/values/compare.h"
#include "nibble/template/values/format.h"
#include "nibble/template/values/raised.h"
#include "nibble/template/values/show.h"

namespace nibble::jinja {
namespace {

[[noreturn]] void unsupported(const char* sign, const Value& a, const Value& b) {
  require_defined(a);
  require_defined(b);
  type_error("unsupported operand type(s) for {}: '{}' and '{}'", sign, type_name(a), type_name(b));
}

[[noreturn]] void overflow() {
  raise("OverflowError", "an integer of more than 127 bits");
}

[[noreturn]] void divided_by_zero(const char* message) {
  raise("ZeroDivisionError", "{}", message);
}

bool both_integers(const Value& a, const Value& b) {
  return a.is_integer() && b.is_integer();
}

bool both_numbers(const Value& a, const Value& b) {
  return a.is_number() && b.is_number();
}

/// The texts of a + b where one is marked safe: the other is escaped.
Value add_markup(const Value& a, const Value& b) {
  const auto part = [](const Value& v) {
    return v.is_markup() ? v.as_text() : escape_html(v.as_text());
  };
  return Value::text(part(a) + part(b), true);
}

Value add_texts(const Value& a, const Value& b) {
  if (a.is_markup() || b.is_markup()) return add_markup(a, b);
  check_size(1, a.as_text().size() + b.as_text().size());
  return Value::text(a.as_text() + b.as_text());
}

Value add_sequences(const Value& a, const Value& b) {
  std::vector<Value> items = iterate(a);
  const std::vector<Value>& more = b.items();
  items.insert(items.end(), more.begin(), more.end());
  return a.is_tuple() ? Value::tuple(std::move(items)) : Value::list(std::move(items));
}

/// a * count of a text or sequence; null where neither is one.
std::optional<Value> repeat(const Value& value, const Value& times) {
  if (!value.is_text() && !value.is_sequence()) return std::nullopt;
  if (!times.is_integer()) {
    require_defined(times);
    type_error("can't multiply sequence by non-int of type '{}'", type_name(times));
  }
  const auto count = static_cast<std::size_t>(std::clamp<Int>(times.as_integer(), 0, INT64_MAX));
  if (value.is_text()) {
    const std::string& text = value.as_text();
    check_size(count, text.size());
    std::string out;
    for (std::size_t i = 0; !text.empty() && i < count; ++i) out += text;
    return Value::text(std::move(out), value.is_markup());
  }
  check_size(count, value.items().size() * sizeof(Value));
  std::vector<Value> items;
  for (std::size_t i = 0; !value.items().empty() && i < count; ++i) {
    items.insert(items.end(), value.items().begin(), value.items().end());
  }
  return value.is_tuple() ? Value::tuple(std::move(items)) : Value::list(std::move(items));
}

Int floor_divide_integers(Int a, Int b) {
  if (b == 0) divided_by_zero("integer division or modulo by zero");
  if (b == -1) return subtract(Value::integer(0), Value::integer(a)).as_integer();
  return a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0);
}

Int modulo_integers(Int a, Int b) {
  if (b == 0) divided_by_zero("integer modulo by zero");
  if (b == -1) return 0;
  const Int rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

double modulo_reals(double a, double b) {
  const double rest = std::fmod(a, b);
  if (rest == 0) return std::copysign(0.0, b);
  return (rest < 0) != (b < 0) ? rest + b : rest;
}

double floor_divide_reals(double a, double b) {
  const double rest = std::fmod(a, b);
  double quotient = (a - rest) / b;
  if (rest != 0 && (rest < 0) != (b < 0)) quotient -= 1;
  if (quotient == 0) return std::copysign(0.0, a / b);
  const double floored = std::floor(quotient);
  return quotient - floored > 0.5 ? floored + 1 : floored;
}

Value power_integers(Int base, Int exponent) {
  Int result = 1;
  for (; exponent > 0; exponent >>= 1) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) overflow();
    if (exponent > 1 && __builtin_mul_overflow(base, base, &base)) overflow();
  }
  return Value::integer(result);
}

Value power_reals(double base, double exponent) {
  if (base == 0 && exponent < 0) divided_by_zero("0.0 cannot be raised to a negative power");
  if (base < 0 && std::isfinite(base) && std::isfinite(exponent) &&
      exponent != std::floor(exponent)) {
    value_error("a negative number to a fractional power is complex");
  }
  const double result = std::pow(base, exponent);
  if (std::isinf(result) && std::isfinite(base) && std::isfinite(exponent)) {
    raise("OverflowError", "(34, 'Numerical result out of range')");
  }
  return Value::real(result);
}

/// Rounds half to even on the exact decimal value, as Python does.
double round_digits(double value, std::int64_t digits) {
  if (!std::isfinite(value) || digits > 323) return value;
  if (digits < -308) return std::copysign(0.0, value);
  if (digits >= 0) return std::strtod(fmt::format("{:.{}f}", value, digits).c_str(), nullptr);
  const double unit = std::pow(10.0, static_cast<double>(-digits));
  return std::nearbyint(value / unit) * unit;
}

Int round_integer(Int value, std::int64_t digits) {
  constexpr Int kMost = Int{1} << 120;  // room for the next multiple of 10^37
  if (digits >= 0) return value;
  if (value > kMost || value < -kMost) overflow();
  if (digits < -37) return 0;
  Int unit = 1;
  for (std::int64_t i = 0; i < -digits; ++i) unit *= 10;
  const Int floor = value - modulo_integers(value, unit);
  const Int twice = (value - floor) - (unit - (value - floor));
  const bool up = twice > 0 || (twice == 0 && floor / unit % 2 != 0);
  return up ? floor + unit : floor;
}

}  // namespace

Value add(const Value& a, const Value& b) {
  if (both_integers(a, b)) {
    Int sum = 0;
    if (__builtin_add_overflow(a.as_integer(), b.as_integer(), &sum)) overflow();
    return Value::integer(sum);
  }
  if (both_numbers(a, b)) return Value::real(a.as_real() + b.as_real());
  if (a.is_text() && b.is_text()) return add_texts(a, b);
  if (a.is_sequence() && b.is_sequence() && a.is_tuple() == b.is_tuple()) {
    return add_sequences(a, b);
  }
  require_defined(a);
  require_defined(b);
  if (a.is_text() || a.is_sequence()) {
    type_error("can only concatenate {} (not \"{}\") to {}", type_name(a), type_name(b),
               type_name(a));
  }
  unsupported("+", a, b);
}

Value subtract(const Value& a, const Value& b) {
  if (both_integers(a, b)) {
    Int difference = 0;
    if (__builtin_sub_overflow(a.as_integer(), b.as_integer(), &difference)) overflow();
    return Value::integer(difference);
  }
  if (both_numbers(a, b)) return Value::real(a.as_real() - b.as_real());
  unsupported("-", a, b);
}

Value multiply(const Value& a, const Value& b) {
  if (both_integers(a, b)) {
    Int product = 0;
    if (__builtin_mul_overflow(a.as_integer(), b.as_integer(), &product)) overflow();
    return Value::integer(product);
  }
  if (both_numbers(a, b)) return Value::real(a.as_real() * b.as_real());
  if (std::optional<Value> repeated = repeat(a, b)) return *repeated;
  if (std::optional<Value> repeated = repeat(b, a)) return *repeated;
  unsupported("*", a, b);
}

Value divide(const Value& a, const Value& b) {
  if (!both_numbers(a, b)) unsupported("/", a, b);
  if (b.as_real() == 0) {
    divided_by_zero(both_integers(a, b) ? "division by zero" : "float division by zero");
  }
  return Value::real(a.as_real() / b.as_real());
}

Value floor_divide(const Value& a, const Value& b) {
  if (both_integers(a, b)) {
    return Value::integer(floor_divide_integers(a.as_integer(), b.as_integer()));
  }
  if (!both_numbers(a, b)) unsupported("//", a, b);
  if (b.as_real() == 0) divided_by_zero("float floor division by zero");
  return Value::real(floor_divide_reals(a.as_real(), b.as_real()));
}

Value modulo(const Value& a, const Value& b) {
  if (a.is_text()) return Value::text(format_percent(a, b), a.is_markup());
  if (both_integers(a, b)) return Value::integer(modulo_integers(a.as_integer(), b.as_integer()));
  if (!both_numbers(a, b)) unsupported("%", a, b);
  if (b.as_real() == 0) divided_by_zero("float modulo");
  return Value::real(modulo_reals(a.as_real(), b.as_real()));
}

Value power(const Value& a, const Value& b) {
  if (!both_numbers(a, b)) unsupported("** or pow()", a, b);
  if (both_integers(a, b) && b.as_integer() >= 0) {
    return power_integers(a.as_integer(), b.as_integer());
  }
  return power_reals(a.as_real(), b.as_real());
}

Value negate(const Value& value) {
  require_defined(value);
  if (value.is_integer()) return subtract(Value::integer(0), value);
  if (!value.is_real()) type_error("bad operand type for unary -: '{}'", type_name(value));
  return Value::real(-value.as_real());
}

Value posit(const Value& value) {
  require_defined(value);
  if (value.is_integer()) return Value::integer(value.as_integer());
  if (!value.is_real()) type_error("bad operand type for unary +: '{}'", type_name(value));
  return value;
}

Value absolute(const Value& value) {
  if (!value.is_number()) type_error("bad operand type for abs(): '{}'", type_name(value));
  if (value.is_real()) return Value::real(std::fabs(value.as_real()));
  return value.as_integer() < 0 ? negate(value) : posit(value);
}

Value round_number(const Value& value, const std::optional<Value>& digits) {
  if (!value.is_number()) {
    type_error("type {} doesn't define __round__ method", type_name(value));
  }
  if (!digits || digits->is_none()) {
    return value.is_integer() ? posit(value)
                              : Value::integer(truncate_real(std::nearbyint(value.as_real())));
  }
  const std::int64_t places = to_clamped_index(*digits);
  if (value.is_integer()) return Value::integer(round_integer(value.as_integer(), places));
  return Value::real(round_digits(value.as_real(), places));
}

Int truncate_real(double value) {
  if (std::isnan(value)) value_error("cannot convert float NaN to integer");
  if (std::isinf(value)) raise("OverflowError", "cannot convert float infinity to integer");
  if (std::fabs(value) >= 0x1p126) overflow();
  return static_cast<Int>(value);
}

Int to_index(const Value& value) {
  if (!value.is_integer()) {
    type_error("'{}' object cannot be interpreted as an integer", type_name(value));
  }
  return value.as_integer();
}

std::int64_t to_clamped_index(const Value& value) {
  return static_cast<std::int64_t>(std::clamp<Int>(to_index(value), INT64_MIN, INT64_MAX));
}

}  // namespace nibble::jinja
