// One rendering under way: variables, output, and what keeps it within bounds.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "nibble/template/values/value.h"

namespace nibble::jinja {

/// The variables of a block; those of the blocks around it are seen through it.
class Scope {
 public:
  explicit Scope(std::shared_ptr<Scope> parent) : parent_(std::move(parent)) {}

  /// Null if no block has it.
  const Value* find(std::string_view name) const;
  void set(const std::string& name, Value value);
  void clear() { variables_.clear(); }

 private:
  friend class Machine;

  std::shared_ptr<Scope> parent_;
  std::vector<std::pair<std::string, Value>> variables_;
  Charge charge_{128};
  bool kept_ = false;
};

class Machine {
 public:
  /// `globals`: the functions and variables that the template begins with.
  explicit Machine(const Dict& globals);
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  /// The line of the template that is at work, for errors.
  int line = 1;

  void write(std::string_view text);
  /// What was written since the beginning.
  std::string take_output() { return std::move(output_); }

  /// The variable, or an undefined value.
  Value load(const std::string& name) const;
  void store(const std::string& name, Value value) { scope_->set(name, std::move(value)); }

  const std::shared_ptr<Scope>& scope() const { return scope_; }
  /// Keeps a scope that outlives its block, and those around it, and empties them at the end: what
  /// they hold may hold them.
  void keep(std::shared_ptr<Scope> scope);
  /// The same for an object that can change.
  void keep(std::shared_ptr<Object> object) { kept_objects_.push_back(std::move(object)); }

  /// Sets a scope for as long as this lives.
  class Inner {
   public:
    Inner(Machine& machine, std::shared_ptr<Scope> scope)
        : machine_(machine), outer_(std::exchange(machine.scope_, std::move(scope))) {}
    explicit Inner(Machine& machine) : Inner(machine, std::make_shared<Scope>(machine.scope_)) {}
    ~Inner() { machine_.scope_ = std::move(outer_); }
    Inner(const Inner&) = delete;
    Inner& operator=(const Inner&) = delete;

   private:
    Machine& machine_;
    std::shared_ptr<Scope> outer_;
  };

  /// Output goes to a text of its own for as long as this lives.
  class Capture {
   public:
    explicit Capture(Machine& machine)
        : machine_(machine),
          outer_(std::exchange(machine.output_, std::string())),
          outer_bytes_(machine.output_bytes_) {}
    ~Capture() {
      machine_.output_ = std::move(outer_);
      machine_.output_bytes_ = outer_bytes_;
    }
    Capture(const Capture&) = delete;
    Capture& operator=(const Capture&) = delete;
    std::string take() { return std::move(machine_.output_); }

   private:
    Machine& machine_;
    std::string outer_;
    std::size_t outer_bytes_;
  };

  /// Counts an evaluation inside another.
  class Level {
   public:
    explicit Level(Machine& machine);
    ~Level() { --machine_.level_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Machine& machine_;
  };

 private:
  const Dict& globals_;
  std::shared_ptr<Scope> top_;
  std::shared_ptr<Scope> scope_;
  std::string output_;
  std::size_t output_bytes_ = 0;  // of all texts under way
  int level_ = 0;
  std::vector<std::shared_ptr<Scope>> kept_scopes_;
  std::vector<std::shared_ptr<Object>> kept_objects_;
};

/// x.name: an attribute or method first, else an item; undefined if there is neither.
Value get_attribute(Machine& machine, const Value& value, const std::string& name);
/// x[key]: an item first, else an attribute or method.
Value get_item(Machine& machine, const Value& value, const Value& key);
/// x[start:stop:step]; None for a part left out.
Value get_slice(const Value& value, const Value& start, const Value& stop, const Value& step);
/// The item that a filter's `attribute` names, such as "function.name" or 0: get_item() for each
/// part.
Value get_path(Machine& machine, const Value& value, const Value& path);
/// Throws Raised for what cannot be called.
Value call(Machine& machine, const Value& function, Arguments& arguments);

}  // namespace nibble::jinja
