// The statements of a parsed template: text, output and blocks.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "nibble/template/run/expression.h"

namespace nibble::jinja {

/// How a statement ended.
enum class Flow { kNext, kBreak, kContinue };

class Statement {
 public:
  explicit Statement(int line) : line_(line) {}
  virtual ~Statement() = default;
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  virtual Flow execute(Machine& machine) const = 0;
  int line() const { return line_; }

 private:
  int line_;
};

using StatementPtr = std::unique_ptr<const Statement>;

/// Statements one after the other.
class Body {
 public:
  void add(StatementPtr statement) { statements_.push_back(std::move(statement)); }
  Flow execute(Machine& machine) const;
  /// Runs it in a scope of its own and gives what it writes.
  std::string capture(Machine& machine) const;

 private:
  std::vector<StatementPtr> statements_;
};

class Data : public Statement {
 public:
  Data(int line, std::string text) : Statement(line), text_(std::move(text)) {}
  Flow execute(Machine& machine) const override;

 private:
  std::string text_;
};

class Print : public Statement {
 public:
  Print(int line, ExpressionPtr value) : Statement(line), value_(std::move(value)) {}
  Flow execute(Machine& machine) const override;

 private:
  ExpressionPtr value_;
};

class If : public Statement {
 public:
  struct Branch {
    ExpressionPtr condition;  // null: else
    Body body;
  };
  If(int line, std::vector<Branch> branches) : Statement(line), branches_(std::move(branches)) {}
  Flow execute(Machine& machine) const override;

 private:
  std::vector<Branch> branches_;
};

/// What stands on the left of an assignment: a name, namespace.name, or several in a tuple.
struct Target {
  std::string name;
  std::string attribute;      // of the namespace `name`; empty: none
  std::vector<Target> parts;  // of a tuple
  bool is_tuple = false;

  /// Throws Raised if a namespace of it is none.
  void check(const Machine& machine) const;
  void assign(Machine& machine, const Value& value) const;
};

class Set : public Statement {
 public:
  Set(int line, Target target, ExpressionPtr value)
      : Statement(line), target_(std::move(target)), value_(std::move(value)) {}
  Flow execute(Machine& machine) const override;

 private:
  Target target_;
  ExpressionPtr value_;
};

/// {% set name %}text{% endset %}.
class SetBlock : public Statement {
 public:
  struct Parts {
    Target target;
    std::unique_ptr<const FilterCall> filter;  // null: none
    Body body;
  };
  SetBlock(int line, Parts parts) : Statement(line), parts_(std::move(parts)) {}
  Flow execute(Machine& machine) const override;

 private:
  Parts parts_;
};

class For : public Statement {
 public:
  struct Parts {
    Target target;
    ExpressionPtr items;
    ExpressionPtr condition;  // null: all items
    bool recursive = false;
    Body body;
    Body otherwise;  // run if there was no item
  };
  For(int line, Parts parts) : Statement(line), parts_(std::move(parts)) {}
  Flow execute(Machine& machine) const override;
  /// Loops over `items`, `level` loops of this statement being under way around it.
  Flow loop(Machine& machine, const Value& items, int level) const;
  const Parts& parts() const { return parts_; }

 private:
  Parts parts_;
};

/// break and continue.
class Jump : public Statement {
 public:
  Jump(int line, Flow flow) : Statement(line), flow_(flow) {}
  Flow execute(Machine&) const override { return flow_; }

 private:
  Flow flow_;
};

/// A macro, or the body of a call block.
struct MacroDefinition {
  struct Parameter {
    std::string name;
    ExpressionPtr fallback;  // null: none
  };
  std::string name;  // empty: a call block's
  int line = 0;
  std::vector<Parameter> parameters;
  Body body;
  // Whether the body uses these names, so that the call may pass more than the parameters.
  bool uses_caller = false;
  bool uses_named = false;
  bool uses_positional = false;
};

class Macro : public Statement {
 public:
  explicit Macro(MacroDefinition definition)
      : Statement(definition.line), definition_(std::move(definition)) {}
  Flow execute(Machine& machine) const override;

 private:
  MacroDefinition definition_;
};

/// {% call(parameters) macro(...) %}body{% endcall %}.
class CallBlock : public Statement {
 public:
  CallBlock(int line, std::unique_ptr<const Call> call, MacroDefinition body)
      : Statement(line), call_(std::move(call)), body_(std::move(body)) {}
  Flow execute(Machine& machine) const override;

 private:
  std::unique_ptr<const Call> call_;
  MacroDefinition body_;
};

class FilterBlock : public Statement {
 public:
  FilterBlock(int line, std::unique_ptr<const FilterCall> filter, Body body)
      : Statement(line), filter_(std::move(filter)), body_(std::move(body)) {}
  Flow execute(Machine& machine) const override;

 private:
  std::unique_ptr<const FilterCall> filter_;
  Body body_;
};

class With : public Statement {
 public:
  using Assignment = std::pair<Target, ExpressionPtr>;
  With(int line, std::vector<Assignment> assignments, Body body)
      : Statement(line), assignments_(std::move(assignments)), body_(std::move(body)) {}
  Flow execute(Machine& machine) const override;

 private:
  std::vector<Assignment> assignments_;
  Body body_;
};

/// {% generation %}, which marks what an assistant says: text like any other here.
class Generation : public Statement {
 public:
  Generation(int line, Body body) : Statement(line), body_(std::move(body)) {}
  Flow execute(Machine& machine) const override;

 private:
  Body body_;
};

}  // namespace nibble::jinja
