#include "nibble/template/run/statement.h"

#include "nibble/template/run/loop.h"
#include "nibble/template/run/macro.h"
#include "nibble/template/values/compare.h"
#include "nibble/template/values/objects.h"
#include "nibble/template/values/raised.h"
#include "nibble/template/values/show.h"

namespace nibble::jinja {
namespace {

/// Ends a loop however it is left.
class LoopEnd {
 public:
  explicit LoopEnd(Loop& loop) : loop_(loop) {}
  ~LoopEnd() { loop_.clear(); }
  LoopEnd(const LoopEnd&) = delete;
  LoopEnd& operator=(const LoopEnd&) = delete;

 private:
  Loop& loop_;
};

Namespace* find_namespace(const Machine& machine, const std::string& name) {
  const Value value = machine.load(name);
  return value.is_object() ? dynamic_cast<Namespace*>(&value.as_object()) : nullptr;
}

}  // namespace

Flow Body::execute(Machine& machine) const {
  for (const StatementPtr& statement : statements_) {
    count_steps(1);
    machine.line = statement->line();
    const Flow flow = statement->execute(machine);
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

std::string Body::capture(Machine& machine) const {
  const Machine::Inner inner(machine);
  Machine::Capture capture(machine);
  execute(machine);
  return capture.take();
}

Flow Data::execute(Machine& machine) const {
  machine.write(text_);
  return Flow::kNext;
}

Flow Print::execute(Machine& machine) const {
  const Value value = value_->evaluate(machine);
  std::string buffer;
  machine.write(to_text(value, buffer));
  return Flow::kNext;
}

Flow If::execute(Machine& machine) const {
  for (const Branch& branch : branches_) {
    if (branch.condition == nullptr || truth(branch.condition->evaluate(machine))) {
      const Machine::Level level(machine);
      return branch.body.execute(machine);
    }
  }
  return Flow::kNext;
}

void Target::check(const Machine& machine) const {
  for (const Target& part : parts) part.check(machine);
  if (attribute.empty() || find_namespace(machine, name) != nullptr) return;
  raise("TemplateRuntimeError", "cannot assign attribute on non-namespace object");
}

void Target::assign(Machine& machine, const Value& value) const {
  if (!is_tuple && attribute.empty()) return machine.store(name, value);
  if (!is_tuple) {
    Namespace* target = find_namespace(machine, name);
    if (target == nullptr) {
      raise("TemplateRuntimeError", "cannot assign attribute on non-namespace object");
    }
    return target->set(attribute, value);
  }
  if (!is_iterable(value)) {
    type_error("cannot unpack non-iterable {} object", type_name(value));
  }
  const std::vector<Value> items = iterate(value);
  if (items.size() < parts.size()) {
    value_error("not enough values to unpack (expected {}, got {})", parts.size(), items.size());
  }
  if (items.size() > parts.size()) {
    value_error("too many values to unpack (expected {})", parts.size());
  }
  for (std::size_t i = 0; i < parts.size(); ++i) parts[i].assign(machine, items[i]);
}

Flow Set::execute(Machine& machine) const {
  target_.check(machine);
  target_.assign(machine, value_->evaluate(machine));
  return Flow::kNext;
}

Flow SetBlock::execute(Machine& machine) const {
  parts_.target.check(machine);
  Value text = Value::text(parts_.body.capture(machine));
  if (parts_.filter != nullptr) text = parts_.filter->apply(machine, std::move(text));
  parts_.target.assign(machine, text);
  return Flow::kNext;
}

Flow For::execute(Machine& machine) const {
  return loop(machine, parts_.items->evaluate(machine), 0);
}

Flow For::loop(Machine& machine, const Value& items, int level) const {
  const Machine::Level nested(machine);
  if (!is_iterable(items)) type_error("'{}' object is not iterable", type_name(items));
  const auto loop = std::make_shared<Loop>(*this, machine, items, level);
  const LoopEnd end(*loop);
  bool any = false;
  while (loop->next()) {
    count_steps(4);
    any = true;
    const Machine::Inner inner(machine);
    machine.store("loop", Value::object(loop));
    parts_.target.assign(machine, loop->current());
    if (parts_.body.execute(machine) == Flow::kBreak) break;
    machine.line = line();
  }
  if (any) return Flow::kNext;
  const Machine::Inner inner(machine);
  return parts_.otherwise.execute(machine);
}

Flow Macro::execute(Machine& machine) const {
  machine.store(definition_.name,
                Value::object(std::make_shared<MacroObject>(definition_, machine)));
  return Flow::kNext;
}

Flow CallBlock::execute(Machine& machine) const {
  const Value caller = Value::object(std::make_shared<MacroObject>(body_, machine));
  const Value result = call_->compute_with(machine, "caller", caller);
  std::string buffer;
  machine.write(to_text(result, buffer));
  return Flow::kNext;
}

Flow FilterBlock::execute(Machine& machine) const {
  const Machine::Inner inner(machine);
  const Value text = filter_->apply(machine, Value::text(body_.capture(machine)));
  std::string buffer;
  machine.write(to_text(text, buffer));
  return Flow::kNext;
}

Flow With::execute(Machine& machine) const {
  // All values are those from outside: none sees the block's other variables.
  std::vector<Value> values;
  for (const auto& [target, value] : assignments_) values.push_back(value->evaluate(machine));
  const Machine::Inner inner(machine);
  for (std::size_t i = 0; i < values.size(); ++i) assignments_[i].first.assign(machine, values[i]);
  return body_.execute(machine);
}

Flow Generation::execute(Machine& machine) const {
  const Machine::Inner inner(machine);
  body_.execute(machine);
  return Flow::kNext;
}

}  // namespace nibble::jinja
