// The variable `loop`: where a for block stands in its items.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nibble/template/run/statement.h"

namespace nibble::jinja {

class Loop : public Object {
 public:
  /// `items` is iterable. `level`: loops of the same statement around this one.
  Loop(const For& statement, Machine& machine, const Value& items, int level);

  /// Goes on to the next item, if there is one.
  bool next();
  const Value& current() const { return current_; }

  std::string type_name() const override { return "LoopContext"; }
  std::string described() const override { return "jinja2.runtime.LoopContext object"; }
  std::string repr() override;
  std::optional<std::size_t> length() override { return count(); }
  bool callable() const override { return true; }
  std::optional<Value> attribute(Machine& machine, const std::string& name) override;
  /// Loops over nested items, for recursive loops.
  Value call(Machine& machine, Arguments& arguments) override;
  /// The items are let go when the loop is over: they may hold this.
  void clear() override;

 private:
  /// The next item that meets the condition of the loop, if any.
  std::optional<Value> fetch();
  /// Looks one item ahead.
  const std::optional<Value>& peek();
  std::size_t count();
  Value position(const std::string& name);
  Value method(const std::string& name);

  const For& statement_;
  Machine& machine_;
  std::shared_ptr<Scope> scope_;  // around the loop: where its condition is evaluated
  Value items_;                   // a list or tuple
  std::size_t at_ = 0;            // of the next item to look at
  int level_;
  std::int64_t index_ = -1;
  Value before_;
  Value current_;
  bool peeked_ = false;
  std::optional<Value> after_;
  std::optional<std::size_t> count_;
  std::optional<Value> last_changed_;
};

}  // namespace nibble::jinja
