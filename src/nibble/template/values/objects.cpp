#include "nibble/template/values/objects.h"

#include <utility>

#include "nibble/template/builtins/methods.h"
#include "nibble/template/values/raised.h"
#include "nibble/template/values/show.h"

namespace nibble::jinja {
namespace {

void check_name(const std::string& name) {
  if (!name.starts_with('_')) return;
  raise("SecurityError",
        "Chat templates cannot store underscore-prefixed attributes on a namespace, but got {}. "
        "Please rename the attribute.",
        repr_text(name));
}

}  // namespace

std::string DictView::type_name() const {
  return part_ == Part::kItems ? "dict_items" : part_ == Part::kKeys ? "dict_keys" : "dict_values";
}

std::string DictView::repr() {
  return type_name() + "(" + jinja::repr(Value::list(make_items())) + ")";
}

std::vector<Value> DictView::make_items() const {
  std::vector<Value> items;
  for (const auto& [key, value] : dict_.as_dict().entries()) {
    items.push_back(part_ == Part::kItems  ? Value::tuple({key, value})
                    : part_ == Part::kKeys ? key
                                           : value);
  }
  return items;
}

Range::Range(Int start, Int stop, Int step) : start_(start), stop_(stop), step_(step) {
  const Int distance = step > 0 ? stop - start : start - stop;
  const Int stride = step > 0 ? step : -step;
  const Int size = distance <= 0 ? 0 : (distance + stride - 1) / stride;
  if (size > kMaxRange) {
    raise("OverflowError", "Range too big. The sandbox blocks ranges larger than MAX_RANGE ({}).",
          kMaxRange);
  }
  size_ = static_cast<std::size_t>(size);
}

std::string Range::repr() {
  return step_ == 1 ? fmt::format("range({}, {})", start_, stop_)
                    : fmt::format("range({}, {}, {})", start_, stop_, step_);
}

std::vector<Value> Range::take_items() {
  count_steps(static_cast<std::int64_t>(size_));
  std::vector<Value> items;
  for (std::size_t i = 0; i < size_; ++i) items.push_back(item(i));
  return items;
}

void Generator::produce() {
  if (const Make make = std::exchange(make_, nullptr)) items_ = make();
}

std::vector<Value> Generator::take_items() {
  produce();
  std::vector<Value> items(items_.begin() + static_cast<std::ptrdiff_t>(at_), items_.end());
  items_.clear();
  at_ = 0;
  return items;
}

std::optional<Value> Generator::take_first() {
  produce();
  return at_ < items_.size() ? std::optional(items_[at_++]) : std::nullopt;
}

Namespace::Namespace(const Dict& values) : charge_(values.size() * (sizeof(Dict::Entry) + 64)) {
  for (const auto& [name, value] : values.entries()) {
    if (name.is_text()) check_name(name.as_text());
    values_.set(name, value);
  }
}

std::string Namespace::repr() {
  std::string text;
  for (const auto& [key, value] : values_.entries()) {
    if (!text.empty()) text += ", ";
    text += jinja::repr(key) + ": " + jinja::repr(value);
  }
  return "<TemplateNamespace {" + text + "}>";
}

std::optional<Value> Namespace::attribute(Machine&, const std::string& name) {
  const Value* found = values_.find(name);
  return found == nullptr ? std::nullopt : std::optional(*found);
}

void Namespace::set(const std::string& name, Value value) {
  check_name(name);
  values_.set(name, std::move(value));
}

std::optional<Value> Cycler::attribute(Machine&, const std::string& name) {
  const std::vector<Value>& items = items_.items();
  if (name == "current") return items[at_];
  if (name == "items") return items_;
  if (name == "pos") return Value::size(at_);
  if (name != "next" && name != "reset") return std::nullopt;
  const bool advances = name == "next";
  // The method may outlive every other use of the cycler.
  const auto self = std::static_pointer_cast<Cycler>(shared_from_this());
  const auto body = [self, advances](Machine&, Arguments&) {
    const std::size_t count = self->items_.items().size();
    const std::size_t at = std::exchange(self->at_, advances ? (self->at_ + 1) % count : 0);
    return advances ? self->items_.items()[at] : Value();
  };
  return Value::object(std::make_shared<Function>(name, body, depth()));
}

Value Joiner::call(Machine&, Arguments& arguments) {
  bind("joiner", arguments, {});
  return std::exchange(used_, true) ? separator_ : Value::text("");
}

}  // namespace nibble::jinja
