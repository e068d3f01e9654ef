// What values have behind a dot: the methods of Python's texts, lists and dicts.
#pragma once

#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "nibble/template/values/value.h"

namespace nibble::jinja {

/// A function of C++ as a value.
class Function : public Object {
 public:
  using Body = std::function<Value(Machine& machine, Arguments& arguments)>;

  /// `depth`: that of the values that `body` holds.
  Function(std::string name, Body body, int depth = 0)
      : name_(std::move(name)), body_(std::move(body)), depth_(checked_depth(depth + 1)) {}

  std::string type_name() const override { return "builtin_function_or_method"; }
  std::string repr() override { return "<built-in method " + name_ + ">"; }
  int depth() const override { return depth_; }
  bool callable() const override { return true; }
  Value call(Machine& machine, Arguments& arguments) override { return body_(machine, arguments); }

 private:
  std::string name_;
  Body body_;
  int depth_;
};

/// The method `name` bound to the value; nothing if its type has none.
std::optional<Value> find_method(const Value& value, const std::string& name);

/// Whether a value has the attribute but the sandbox hides it: private ones, and methods that
/// would change a list or a dict.
bool is_hidden_attribute(const Value& value, const std::string& name);
/// Whether the name is one of Python's own: "__class__".
bool is_dunder(const std::string& name);
bool is_hashable(const Value& value);

/// A parameter of a filter, test or function; without a default it must be given.
struct Parameter {
  const char* name;
  std::optional<Value> fallback = std::nullopt;
};

/// The values of the parameters, by position or by name, as Python matches them. Throws Raised.
std::vector<Value> bind(const std::string& function, const Arguments& arguments,
                        std::initializer_list<Parameter> parameters);

/// A text argument. Throws Raised naming the function for another type.
const std::string& text_argument(const std::string& function, const Value& value);

}  // namespace nibble::jinja
