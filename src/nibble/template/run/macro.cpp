#include "nibble/template/run/macro.h"

#include <algorithm>

#include "nibble/template/values/raised.h"
#include "nibble/template/values/show.h"

namespace nibble::jinja {
namespace {

/// Takes the named argument out of a call's.
std::optional<Value> take(Arguments& arguments, const std::string& name) {
  const auto found = std::find_if(arguments.named.begin(), arguments.named.end(),
                                  [&](const auto& argument) { return argument.first == name; });
  if (found == arguments.named.end()) return std::nullopt;
  Value value = found->second;
  arguments.named.erase(found);
  return value;
}

}  // namespace

MacroObject::MacroObject(const MacroDefinition& definition, Machine& machine)
    : definition_(definition), scope_(machine.scope()) {
  machine.keep(scope_);
}

std::string MacroObject::repr() {
  return "<Macro " +
         (definition_.name.empty() ? std::string("anonymous") : repr_text(definition_.name)) + ">";
}

std::optional<Value> MacroObject::attribute(Machine&, const std::string& name) {
  if (name == "name") return definition_.name.empty() ? Value() : Value::text(definition_.name);
  if (name == "caller") return Value::boolean(definition_.uses_caller);
  if (name == "catch_kwargs") return Value::boolean(definition_.uses_named);
  if (name == "catch_varargs") return Value::boolean(definition_.uses_positional);
  if (name != "arguments") return std::nullopt;
  std::vector<Value> names;
  for (const auto& parameter : definition_.parameters) {
    names.push_back(Value::text(parameter.name));
  }
  return Value::tuple(std::move(names));
}

Value MacroObject::call(Machine& machine, Arguments& arguments) {
  const Machine::Level level(machine);
  const int line = machine.line;
  std::string text;
  {
    const Machine::Inner inner(machine, std::make_shared<Scope>(scope_));
    const std::vector<std::optional<Value>> given = take_parameters(arguments);
    set_rest(machine, arguments);
    set_parameters(machine, given);
    Machine::Capture capture(machine);
    definition_.body.execute(machine);
    text = capture.take();
  }
  machine.line = line;
  return Value::text(std::move(text));
}

std::vector<std::optional<Value>> MacroObject::take_parameters(Arguments& arguments) const {
  std::vector<std::optional<Value>> given;
  for (std::size_t i = 0; i < definition_.parameters.size(); ++i) {
    const bool positional = i < arguments.positional.size();
    given.push_back(positional ? std::optional(arguments.positional[i])
                               : take(arguments, definition_.parameters[i].name));
  }
  return given;
}

void MacroObject::set_parameters(Machine& machine,
                                 const std::vector<std::optional<Value>>& given) const {
  for (std::size_t i = 0; i < given.size(); ++i) {
    const auto& [name, fallback] = definition_.parameters[i];
    if (given[i]) {
      machine.store(name, *given[i]);
    } else if (fallback != nullptr) {
      machine.store(name, fallback->evaluate(machine));
    } else {
      machine.store(name, Value::undefined("parameter " + repr_text(name) + " was not provided"));
    }
  }
}

void MacroObject::set_rest(Machine& machine, Arguments& arguments) const {
  const auto& parameters = definition_.parameters;
  const bool has_caller = std::any_of(parameters.begin(), parameters.end(),
                                      [](const auto& p) { return p.name == "caller"; });
  if (definition_.uses_caller && !has_caller) {
    const std::optional<Value> caller = take(arguments, "caller");
    machine.store("caller", caller ? *caller : Value::undefined("No caller defined"));
  }
  if (definition_.uses_named) {
    Dict rest;
    for (const auto& [key, value] : arguments.named) rest.set(key, value);
    machine.store("kwargs", Value::dict(std::move(rest)));
  } else if (!arguments.named.empty()) {
    refuse_named(arguments);
  }
  const std::size_t used = std::min(arguments.positional.size(), parameters.size());
  if (definition_.uses_positional) {
    machine.store("varargs",
                  Value::tuple({arguments.positional.begin() + static_cast<std::ptrdiff_t>(used),
                                arguments.positional.end()}));
  } else if (arguments.positional.size() > used) {
    type_error("macro {} takes not more than {} argument(s)", shown_name(), parameters.size());
  }
}

std::string MacroObject::shown_name() const {
  return definition_.name.empty() ? "None" : repr_text(definition_.name);
}

void MacroObject::refuse_named(Arguments& arguments) const {
  const std::string first = arguments.named.front().first;
  if (take(arguments, "caller")) {
    type_error(
        "macro {} was invoked with two values for the special caller argument. This is most likely "
        "a bug.",
        shown_name());
  }
  type_error("macro {} takes no keyword argument {}", shown_name(), repr_text(first));
}

}  // namespace nibble::jinja
