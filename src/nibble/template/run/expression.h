// The expressions of a parsed template. Each evaluates itself; none changes once parsed, so that
// one template may be rendered by several threads at once.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "nibble/template/builtins/filters.h"
#include "nibble/template/run/machine.h"
#include "nibble/template/values/value.h"

namespace nibble::jinja {

class Expression {
 public:
  explicit Expression(int line) : line_(line) {}
  virtual ~Expression() = default;
  Expression(const Expression&) = delete;
  Expression& operator=(const Expression&) = delete;

  Value evaluate(Machine& machine) const;
  int line() const { return line_; }
  /// Expressions inside each other, this one counted.
  int depth() const { return depth_; }

 protected:
  virtual Value compute(Machine& machine) const = 0;
  /// Counts `part` as inside this one. Throws SyntaxError where they are too deep.
  void contain(const Expression* part);

 private:
  int line_;
  int depth_ = 1;
};

using ExpressionPtr = std::unique_ptr<const Expression>;

class Constant : public Expression {
 public:
  Constant(int line, Value value) : Expression(line), value_(std::move(value)) {}
  Value compute(Machine&) const override { return value_; }

 private:
  Value value_;
};

class Variable : public Expression {
 public:
  Variable(int line, std::string name) : Expression(line), name_(std::move(name)) {}
  Value compute(Machine& machine) const override { return machine.load(name_); }
  const std::string& name() const { return name_; }

 private:
  std::string name_;
};

/// [a, b] or (a, b).
class SequenceDisplay : public Expression {
 public:
  SequenceDisplay(int line, std::vector<ExpressionPtr> items, bool tuple);
  Value compute(Machine& machine) const override;

 private:
  std::vector<ExpressionPtr> items_;
  bool tuple_;
};

/// {key: value}.
class DictDisplay : public Expression {
 public:
  using Item = std::pair<ExpressionPtr, ExpressionPtr>;
  DictDisplay(int line, std::vector<Item> items);
  Value compute(Machine& machine) const override;

 private:
  std::vector<Item> items_;
};

/// x.name.
class Attribute : public Expression {
 public:
  Attribute(int line, ExpressionPtr object, std::string name);
  Value compute(Machine& machine) const override;

 private:
  ExpressionPtr object_;
  std::string name_;
};

/// x[key].
class Subscript : public Expression {
 public:
  Subscript(int line, ExpressionPtr object, ExpressionPtr key);
  Value compute(Machine& machine) const override;

 private:
  ExpressionPtr object_;
  ExpressionPtr key_;
};

/// x[start:stop:step]; null for a part left out.
class Slice : public Expression {
 public:
  struct Parts {
    ExpressionPtr start, stop, step;
  };
  Slice(int line, ExpressionPtr object, Parts parts);
  Value compute(Machine& machine) const override;

 private:
  ExpressionPtr object_;
  Parts parts_;
};

/// The arguments of a call as they are written.
struct CallArguments {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  ExpressionPtr more_positional;  // *x
  ExpressionPtr more_named;       // **x

  /// Adds their values. Throws Raised.
  void evaluate(Machine& machine, Arguments& arguments) const;
  /// Calls visit(part) for every expression.
  template <typename Visit>
  void for_each(Visit visit) const {
    for (const auto& part : positional) visit(part.get());
    for (const auto& [name, part] : named) visit(part.get());
    visit(more_positional.get());
    visit(more_named.get());
  }
};

class Call : public Expression {
 public:
  Call(int line, ExpressionPtr function, CallArguments arguments);
  Value compute(Machine& machine) const override;
  /// The same with a named argument more: `caller`, of a call block.
  Value compute_with(Machine& machine, const std::string& name, Value value) const;

 private:
  Value run(Machine& machine, Arguments& arguments) const;

  ExpressionPtr function_;
  CallArguments arguments_;
};

/// value | name(arguments).
class FilterCall : public Expression {
 public:
  /// `value`: null in filter blocks. An unknown name fails when it is evaluated.
  FilterCall(int line, ExpressionPtr value, std::string name, CallArguments arguments);
  Value compute(Machine& machine) const override;
  /// Filters `text`, which stands in for the innermost value left out.
  Value apply(Machine& machine, Value text) const;

 private:
  Value run(Machine& machine, Value value) const;

  ExpressionPtr value_;
  const FilterCall* inner_ = nullptr;  // value_, where that is a filter of nothing too
  std::string name_;
  Filter filter_;
  CallArguments arguments_;
};

/// value is name(arguments).
class TestCall : public Expression {
 public:
  TestCall(int line, ExpressionPtr value, std::string name, CallArguments arguments);
  Value compute(Machine& machine) const override;

 private:
  ExpressionPtr value_;
  std::string name_;
  Test test_;
  CallArguments arguments_;
};

class Unary : public Expression {
 public:
  using Operation = Value (*)(const Value&);
  Unary(int line, Operation operation, ExpressionPtr operand);
  Value compute(Machine& machine) const override;

 private:
  Operation operation_;
  ExpressionPtr operand_;
};

class Binary : public Expression {
 public:
  using Operation = Value (*)(const Value&, const Value&);
  Binary(int line, Operation operation, ExpressionPtr left, ExpressionPtr right);
  Value compute(Machine& machine) const override;

 private:
  Operation operation_;
  ExpressionPtr left_;
  ExpressionPtr right_;
};

/// `and` and `or`, which give one of their operands.
class Logical : public Expression {
 public:
  enum class Kind { kAnd, kOr };
  Logical(int line, Kind kind, ExpressionPtr left, ExpressionPtr right);
  Value compute(Machine& machine) const override;

 private:
  Kind kind_;
  ExpressionPtr left_;
  ExpressionPtr right_;
};

/// a < b <= c: each neighbour compared, up to the first that is false.
class Comparison : public Expression {
 public:
  using Operation = bool (*)(const Value&, const Value&);
  using Step = std::pair<Operation, ExpressionPtr>;
  Comparison(int line, ExpressionPtr first, std::vector<Step> steps);
  Value compute(Machine& machine) const override;

 private:
  ExpressionPtr first_;
  std::vector<Step> steps_;
};

/// a ~ b ~ c.
class Concatenation : public Expression {
 public:
  Concatenation(int line, std::vector<ExpressionPtr> parts);
  Value compute(Machine& machine) const override;

 private:
  std::vector<ExpressionPtr> parts_;
};

/// a if condition else b; without else an undefined value.
class Conditional : public Expression {
 public:
  Conditional(int line, ExpressionPtr condition, ExpressionPtr yes, ExpressionPtr no);
  Value compute(Machine& machine) const override;

 private:
  ExpressionPtr condition_;
  ExpressionPtr yes_;
  ExpressionPtr no_;
};

}  // namespace nibble::jinja
