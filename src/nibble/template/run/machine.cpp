#include "nibble/template/run/machine.h"

#include <algorithm>

#include "nibble/template/builtins/methods.h"
#include "nibble/template/values/arithmetic.h"
#include "nibble/template/values/characters.h"
#include "nibble/template/values/compare.h"
#include "nibble/template/values/raised.h"
#include "nibble/template/values/show.h"

namespace nibble::jinja {
namespace {

Value missing_attribute(const Value& value, const std::string& name) {
  return Value::undefined(
      fmt::format("{} has no attribute {}", repr_text(described(value)), repr_text(name)));
}

Value missing_item(const Value& value, const Value& key) {
  if (key.is_text()) return missing_attribute(value, key.as_text());
  return Value::undefined(fmt::format("{} has no element {}", described(value), repr(key)));
}

/// What Python's getattr() finds; hidden ones are undefined values that raise SecurityError.
std::optional<Value> find_attribute(Machine& machine, const Value& value, const std::string& name) {
  if (value.is_undefined() && !is_dunder(name)) raise_undefined(value.as_undefined());
  if (is_hidden_attribute(value, name)) {
    return Value::undefined(fmt::format("access to attribute {} of {} object is unsafe.",
                                        repr_text(name), repr_text(type_name(value))),
                            true);
  }
  if (value.is_object()) return value.as_object().attribute(machine, name);
  return find_method(value, name);
}

/// The place that an index means in `size` items, if it is one of them.
std::optional<std::size_t> place(const Value& key, std::size_t size) {
  if (!key.is_integer()) return std::nullopt;
  Int index = key.as_integer();
  if (index < 0) index += static_cast<Int>(size);
  if (index < 0 || index >= static_cast<Int>(size)) return std::nullopt;
  return static_cast<std::size_t>(index);
}

std::optional<Value> character_at(const Value& text, const Value& key) {
  const std::string& bytes = text.as_text();
  const std::optional<std::size_t> index = place(key, count_characters(bytes));
  if (!index) return std::nullopt;
  const std::size_t start = byte_offset(bytes, *index);
  return Value::text(bytes.substr(start, utf8_length(bytes[start])), text.is_markup());
}

/// What Python's x[key] finds.
std::optional<Value> find_item(const Value& value, const Value& key) {
  require_defined(value);
  if (value.is_dict()) {
    if (!is_hashable(key)) return std::nullopt;
    const Value* found = value.as_dict().find(key);
    return found == nullptr ? std::nullopt : std::optional(*found);
  }
  if (value.is_sequence()) {
    const std::optional<std::size_t> index = place(key, value.items().size());
    return index ? std::optional(value.items()[*index]) : std::nullopt;
  }
  if (value.is_text()) return character_at(value, key);
  if (value.is_object() && value.as_object().subscriptable()) {
    const std::optional<std::size_t> index = place(key, *value.as_object().length());
    return index ? std::optional(value.as_object().item(*index)) : std::nullopt;
  }
  return std::nullopt;
}

/// The places that a slice takes from `size` items.
std::vector<std::size_t> slice_places(std::size_t size, const Value& start, const Value& stop,
                                      const Value& step) {
  const auto whole = [](const Value& value, Int fallback) {
    if (value.is_none()) return fallback;
    require_defined(value);
    if (!value.is_integer()) {
      type_error("slice indices must be integers or None or have an __index__ method");
    }
    return value.as_integer();
  };
  const Int count = static_cast<Int>(size);
  const Int stride = std::clamp<Int>(whole(step, 1), INT64_MIN, INT64_MAX);
  if (stride == 0) value_error("slice step cannot be zero");
  const auto bound = [&](const Value& value, Int fallback) {
    Int index = whole(value, fallback);
    if (!value.is_none() && index < 0) index = std::max(index + count, Int{stride < 0 ? -1 : 0});
    return std::min(index, stride < 0 ? count - 1 : count);
  };
  const Int from = bound(start, stride < 0 ? count - 1 : 0);
  const Int to = bound(stop, stride < 0 ? -1 : count);
  std::vector<std::size_t> places;
  for (Int at = from; stride < 0 ? at > to : at < to; at += stride) {
    places.push_back(static_cast<std::size_t>(at));
  }
  count_steps(static_cast<std::int64_t>(places.size() / 8));
  return places;
}

Value slice_text(const Value& text, const Value& start, const Value& stop, const Value& step) {
  const std::vector<char32_t> points = code_points(text.as_text());
  std::vector<char32_t> taken;
  for (const std::size_t at : slice_places(points.size(), start, stop, step)) {
    taken.push_back(points[at]);
  }
  return Value::text(from_code_points(taken), text.is_markup());
}

}  // namespace

const Value* Scope::find(std::string_view name) const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->parent_.get()) {
    for (const auto& [key, value] : scope->variables_) {
      if (key == name) return &value;
    }
  }
  return nullptr;
}

void Scope::set(const std::string& name, Value value) {
  const auto found = std::find_if(variables_.begin(), variables_.end(),
                                  [&](const auto& variable) { return variable.first == name; });
  if (found != variables_.end()) {
    found->second = std::move(value);
  } else {
    variables_.emplace_back(name, std::move(value));
  }
}

Machine::Machine(const Dict& globals)
    : globals_(globals), top_(std::make_shared<Scope>(nullptr)), scope_(top_) {}

Machine::~Machine() {
  for (const auto& scope : kept_scopes_) scope->clear();
  for (const auto& object : kept_objects_) object->clear();
  top_->clear();
}

void Machine::keep(std::shared_ptr<Scope> scope) {
  while (scope != nullptr && !scope->kept_) {
    scope->kept_ = true;
    kept_scopes_.push_back(scope);
    scope = scope->parent_;
  }
}

void Machine::write(std::string_view text) {
  count_bytes(text.size());
  output_bytes_ += text.size();
  if (output_bytes_ > Budget::kMaxOutputBytes) {
    raise("OverflowError", "the template writes more than {} MiB", Budget::kMaxOutputBytes >> 20);
  }
  output_ += text;
}

Value Machine::load(const std::string& name) const {
  if (const Value* found = scope_->find(name)) return *found;
  if (const Value* found = globals_.find(name)) return *found;
  return Value::undefined(repr_text(name) + " is undefined");
}

Machine::Level::Level(Machine& machine) : machine_(machine) {
  if (++machine.level_ > kMaxCallDepth) {
    --machine.level_;
    raise("RecursionError", "macros or expressions more than {} levels deep", kMaxCallDepth);
  }
}

Value get_attribute(Machine& machine, const Value& value, const std::string& name) {
  if (std::optional<Value> found = find_attribute(machine, value, name)) return *found;
  if (std::optional<Value> found = find_item(value, Value::text(name))) return *found;
  return missing_attribute(value, name);
}

Value get_item(Machine& machine, const Value& value, const Value& key) {
  if (std::optional<Value> found = find_item(value, key)) return *found;
  if (key.is_text()) {
    if (std::optional<Value> found = find_attribute(machine, value, key.as_text())) return *found;
  }
  return missing_item(value, key);
}

Value get_path(Machine& machine, const Value& value, const Value& path) {
  if (path.is_none()) return value;
  if (!path.is_text()) return get_item(machine, value, path);
  Value item = value;
  std::string_view rest = path.as_text();
  for (bool more = true; more;) {
    const std::size_t dot = std::min(rest.find('.'), rest.size());
    const std::string part(rest.substr(0, dot));
    const bool is_index = !part.empty() && part.size() < 10 &&
                          part.find_first_not_of("0123456789") == std::string::npos;
    item = get_item(machine, item, is_index ? Value::integer(std::stol(part)) : Value::text(part));
    more = dot < rest.size();
    rest.remove_prefix(std::min(dot + 1, rest.size()));
  }
  return item;
}

Value get_slice(const Value& value, const Value& start, const Value& stop, const Value& step) {
  require_defined(value);
  if (value.is_text()) return slice_text(value, start, stop, step);
  if (value.is_dict()) type_error("unhashable type: 'slice'");
  const bool sliceable =
      value.is_sequence() || (value.is_object() && value.as_object().subscriptable());
  if (!sliceable) type_error("'{}' object is not subscriptable", type_name(value));
  const std::vector<Value> items = iterate(value);
  std::vector<Value> taken;
  for (const std::size_t at : slice_places(items.size(), start, stop, step)) {
    taken.push_back(items[at]);
  }
  return value.is_tuple() ? Value::tuple(std::move(taken)) : Value::list(std::move(taken));
}

Value call(Machine& machine, const Value& function, Arguments& arguments) {
  require_defined(function);
  if (!function.is_object()) type_error("'{}' object is not callable", type_name(function));
  return function.as_object().call(machine, arguments);
}

}  // namespace nibble::jinja
