#include "nibble/template/run/expression.h"

#include <algorithm>

#include "nibble/template/parse/lexer.h"
#include "nibble/template/values/compare.h"
#include "nibble/template/values/raised.h"
#include "nibble/template/values/show.h"

namespace nibble::jinja {

Value Expression::evaluate(Machine& machine) const {
  count_steps(1);
  const Machine::Level level(machine);
  return compute(machine);
}

void Expression::contain(const Expression* part) {
  if (part == nullptr) return;
  depth_ = std::max(depth_, part->depth_ + 1);
  if (depth_ > kMaxNodeDepth) {
    syntax_error(line_, "an expression nested deeper than {} levels", kMaxNodeDepth);
  }
}

SequenceDisplay::SequenceDisplay(int line, std::vector<ExpressionPtr> items, bool tuple)
    : Expression(line), items_(std::move(items)), tuple_(tuple) {
  for (const auto& item : items_) contain(item.get());
}

Value SequenceDisplay::compute(Machine& machine) const {
  std::vector<Value> values;
  values.reserve(items_.size());
  for (const auto& item : items_) values.push_back(item->evaluate(machine));
  return tuple_ ? Value::tuple(std::move(values)) : Value::list(std::move(values));
}

DictDisplay::DictDisplay(int line, std::vector<Item> items)
    : Expression(line), items_(std::move(items)) {
  for (const auto& [key, value] : items_) {
    contain(key.get());
    contain(value.get());
  }
}

Value DictDisplay::compute(Machine& machine) const {
  Dict dict;
  for (const auto& [key, value] : items_) {
    const Value made_key = key->evaluate(machine);
    dict.set(made_key, value->evaluate(machine));
  }
  return Value::dict(std::move(dict));
}

Attribute::Attribute(int line, ExpressionPtr object, std::string name)
    : Expression(line), object_(std::move(object)), name_(std::move(name)) {
  contain(object_.get());
}

Value Attribute::compute(Machine& machine) const {
  return get_attribute(machine, object_->evaluate(machine), name_);
}

Subscript::Subscript(int line, ExpressionPtr object, ExpressionPtr key)
    : Expression(line), object_(std::move(object)), key_(std::move(key)) {
  contain(object_.get());
  contain(key_.get());
}

Value Subscript::compute(Machine& machine) const {
  const Value object = object_->evaluate(machine);
  return get_item(machine, object, key_->evaluate(machine));
}

Slice::Slice(int line, ExpressionPtr object, Parts parts)
    : Expression(line), object_(std::move(object)), parts_(std::move(parts)) {
  contain(object_.get());
  for (const auto* part : {&parts_.start, &parts_.stop, &parts_.step}) contain(part->get());
}

Value Slice::compute(Machine& machine) const {
  const auto bound = [&](const ExpressionPtr& part) {
    return part == nullptr ? Value() : part->evaluate(machine);
  };
  const Value object = object_->evaluate(machine);
  const Value start = bound(parts_.start);
  const Value stop = bound(parts_.stop);
  return get_slice(object, start, stop, bound(parts_.step));
}

void CallArguments::evaluate(Machine& machine, Arguments& arguments) const {
  for (const auto& part : positional) arguments.positional.push_back(part->evaluate(machine));
  if (more_positional != nullptr) {
    const std::vector<Value> more = iterate(more_positional->evaluate(machine));
    arguments.positional.insert(arguments.positional.end(), more.begin(), more.end());
  }
  for (const auto& [name, part] : named)
    arguments.named.emplace_back(name, part->evaluate(machine));
  if (more_named == nullptr) return;
  const Value more = more_named->evaluate(machine);
  if (!more.is_dict()) {
    type_error("argument after ** must be a mapping, not {}", type_name(more));
  }
  for (const auto& [name, value] : more.as_dict().entries()) {
    if (!name.is_text()) type_error("keywords must be strings");
    arguments.named.emplace_back(name.as_text(), value);
  }
}

Call::Call(int line, ExpressionPtr function, CallArguments arguments)
    : Expression(line), function_(std::move(function)), arguments_(std::move(arguments)) {
  contain(function_.get());
  arguments_.for_each([this](const Expression* part) { contain(part); });
}

Value Call::compute(Machine& machine) const {
  Arguments arguments;
  return run(machine, arguments);
}

Value Call::compute_with(Machine& machine, const std::string& name, Value value) const {
  Arguments arguments;
  arguments.named.emplace_back(name, std::move(value));
  return run(machine, arguments);
}

Value Call::run(Machine& machine, Arguments& arguments) const {
  const Value function = function_->evaluate(machine);
  arguments_.evaluate(machine, arguments);
  const Charge charge((arguments.positional.size() + arguments.named.size()) * sizeof(Value));
  return call(machine, function, arguments);
}

FilterCall::FilterCall(int line, ExpressionPtr value, std::string name, CallArguments arguments)
    : Expression(line),
      value_(std::move(value)),
      name_(std::move(name)),
      filter_(find_filter(name_)),
      arguments_(std::move(arguments)) {
  contain(value_.get());
  arguments_.for_each([this](const Expression* part) { contain(part); });
  inner_ = dynamic_cast<const FilterCall*>(value_.get());
}

Value FilterCall::compute(Machine& machine) const {
  return run(machine, value_->evaluate(machine));
}

Value FilterCall::apply(Machine& machine, Value text) const {
  return run(machine, inner_ != nullptr ? inner_->apply(machine, std::move(text)) : text);
}

Value FilterCall::run(Machine& machine, Value value) const {
  if (filter_ == nullptr) {
    raise("TemplateRuntimeError", "No filter named {} found.", repr_text(name_));
  }
  Arguments arguments{.positional = {std::move(value)}, .named = {}};
  arguments_.evaluate(machine, arguments);
  return filter_(machine, arguments);
}

TestCall::TestCall(int line, ExpressionPtr value, std::string name, CallArguments arguments)
    : Expression(line),
      value_(std::move(value)),
      name_(std::move(name)),
      test_(find_test(name_)),
      arguments_(std::move(arguments)) {
  contain(value_.get());
  arguments_.for_each([this](const Expression* part) { contain(part); });
}

Value TestCall::compute(Machine& machine) const {
  if (test_ == nullptr) {
    raise("TemplateRuntimeError", "No test named {} found.", repr_text(name_));
  }
  Arguments arguments{.positional = {value_->evaluate(machine)}, .named = {}};
  arguments_.evaluate(machine, arguments);
  return Value::boolean(test_(machine, arguments));
}

Unary::Unary(int line, Operation operation, ExpressionPtr operand)
    : Expression(line), operation_(operation), operand_(std::move(operand)) {
  contain(operand_.get());
}

Value Unary::compute(Machine& machine) const {
  return operation_(operand_->evaluate(machine));
}

Binary::Binary(int line, Operation operation, ExpressionPtr left, ExpressionPtr right)
    : Expression(line), operation_(operation), left_(std::move(left)), right_(std::move(right)) {
  contain(left_.get());
  contain(right_.get());
}

Value Binary::compute(Machine& machine) const {
  const Value left = left_->evaluate(machine);
  return operation_(left, right_->evaluate(machine));
}

Logical::Logical(int line, Kind kind, ExpressionPtr left, ExpressionPtr right)
    : Expression(line), kind_(kind), left_(std::move(left)), right_(std::move(right)) {
  contain(left_.get());
  contain(right_.get());
}

Value Logical::compute(Machine& machine) const {
  Value left = left_->evaluate(machine);
  return truth(left) == (kind_ == Kind::kOr) ? left : right_->evaluate(machine);
}

Comparison::Comparison(int line, ExpressionPtr first, std::vector<Step> steps)
    : Expression(line), first_(std::move(first)), steps_(std::move(steps)) {
  contain(first_.get());
  for (const auto& [operation, operand] : steps_) contain(operand.get());
}

Value Comparison::compute(Machine& machine) const {
  Value left = first_->evaluate(machine);
  for (const auto& [operation, operand] : steps_) {
    Value right = operand->evaluate(machine);
    if (!operation(left, right)) return Value::boolean(false);
    left = std::move(right);
  }
  return Value::boolean(true);
}

Concatenation::Concatenation(int line, std::vector<ExpressionPtr> parts)
    : Expression(line), parts_(std::move(parts)) {
  for (const auto& part : parts_) contain(part.get());
}

Value Concatenation::compute(Machine& machine) const {
  std::string text;
  std::string buffer;
  for (const auto& part : parts_) {
    const Value value = part->evaluate(machine);
    text += to_text(value, buffer);
    check_size(1, text.size());
  }
  return Value::text(std::move(text));
}

Conditional::Conditional(int line, ExpressionPtr condition, ExpressionPtr yes, ExpressionPtr no)
    : Expression(line), condition_(std::move(condition)), yes_(std::move(yes)), no_(std::move(no)) {
  contain(condition_.get());
  contain(yes_.get());
  contain(no_.get());
}

Value Conditional::compute(Machine& machine) const {
  if (truth(condition_->evaluate(machine))) return yes_->evaluate(machine);
  if (no_ != nullptr) return no_->evaluate(machine);
  return Value::undefined(
      fmt::format("the inline if-expression on line {} evaluated to false and no else section was "
                  "defined.",
                  line()));
}

}  // namespace nibble::jinja
