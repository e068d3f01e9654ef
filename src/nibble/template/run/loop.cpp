#include "nibble/template/run/loop.h"

#include <utility>

#include "nibble/template/builtins/methods.h"
#include "nibble/template/values/compare.h"
#include "nibble/template/values/raised.h"

namespace nibble::jinja {

Loop::Loop(const For& statement, Machine& machine, const Value& items, int level)
    : statement_(statement), machine_(machine), scope_(machine.scope()), level_(level) {
  items_ = items.is_sequence() ? items : Value::list(iterate(items));
  if (statement.parts().condition == nullptr) count_ = items_.items().size();
}

std::optional<Value> Loop::fetch() {
  const For::Parts& parts = statement_.parts();
  if (!items_.is_sequence()) return std::nullopt;  // the loop is over
  while (at_ < items_.items().size()) {
    const Value item = items_.items()[at_++];
    if (parts.condition == nullptr) return item;
    const Machine::Inner inner(machine_, std::make_shared<Scope>(scope_));
    parts.target.assign(machine_, item);
    if (jinja::truth(parts.condition->evaluate(machine_))) return item;
  }
  return std::nullopt;
}

const std::optional<Value>& Loop::peek() {
  if (!std::exchange(peeked_, true)) after_ = fetch();
  return after_;
}

bool Loop::next() {
  std::optional<Value> item = peek();
  peeked_ = false;
  after_.reset();
  if (!item) return false;
  ++index_;
  before_ = std::exchange(current_, *std::move(item));
  return true;
}

std::size_t Loop::count() {
  if (count_) return *count_;
  // What is left is looked at now, as Jinja does.
  std::vector<Value> rest;
  if (peek()) rest.push_back(*after_);
  while (std::optional<Value> item = fetch()) rest.push_back(*std::move(item));
  count_ = static_cast<std::size_t>(index_ + 1) + rest.size();
  items_ = Value::list(std::move(rest));
  at_ = after_ ? 1 : 0;
  return *count_;
}

void Loop::clear() {
  count_ = static_cast<std::size_t>(index_ + 1);
  items_ = before_ = current_ = Value();
  after_.reset();
  last_changed_.reset();
  scope_.reset();
}

std::string Loop::repr() {
  return fmt::format("<LoopContext {}/{}>", index_ + 1, count());
}

Value Loop::position(const std::string& name) {
  const auto size = [this] { return static_cast<std::int64_t>(count()); };
  if (name == "index0") return Value::integer(index_);
  if (name == "index") return Value::integer(index_ + 1);
  if (name == "revindex0") return Value::integer(size() - index_ - 1);
  if (name == "revindex") return Value::integer(size() - index_);
  if (name == "length") return Value::integer(size());
  return Value::integer(name == "depth0" ? level_ : level_ + 1);
}

std::optional<Value> Loop::attribute(Machine&, const std::string& name) {
  if (name == "first") return Value::boolean(index_ == 0);
  if (name == "last") return Value::boolean(!peek());
  if (name == "previtem") {
    return index_ == 0 ? Value::undefined("there is no previous item") : before_;
  }
  if (name == "nextitem") {
    return peek() ? *after_ : Value::undefined("there is no next item");
  }
  if (name == "cycle" || name == "changed") return method(name);
  for (const char* known :
       {"index0", "index", "revindex0", "revindex", "length", "depth0", "depth"}) {
    if (name == known) return position(name);
  }
  return std::nullopt;
}

Value Loop::method(const std::string& name) {
  // The method may outlive the loop.
  const auto self = std::static_pointer_cast<Loop>(shared_from_this());
  if (name == "cycle") {
    return Value::object(std::make_shared<Function>(name, [self](Machine&, Arguments& arguments) {
      const std::vector<Value>& items = arguments.positional;
      if (items.empty()) type_error("no items for cycling given");
      return items[static_cast<std::size_t>(self->index_) % items.size()];
    }));
  }
  return Value::object(std::make_shared<Function>(name, [self](Machine&, Arguments& arguments) {
    const Value now = Value::tuple(arguments.positional);
    const bool same = self->last_changed_ && equal(*self->last_changed_, now);
    // Of a loop that is over nothing is kept.
    if (!same && self->items_.is_sequence()) self->last_changed_ = now;
    return Value::boolean(!same);
  }));
}

Value Loop::call(Machine& machine, Arguments& arguments) {
  if (!statement_.parts().recursive) {
    type_error("The loop must have the 'recursive' marker to be called recursively.");
  }
  const Value items = bind("loop", arguments, {{"iterable"}})[0];
  const Machine::Level level(machine);
  const Machine::Inner inner(machine, std::make_shared<Scope>(scope_));
  Machine::Capture capture(machine);
  statement_.loop(machine, items, level_ + 1);
  return Value::text(capture.take());
}

}  // namespace nibble::jinja
