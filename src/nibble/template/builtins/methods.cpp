#include "nibble/template/builtins/methods.h"

#include <algorithm>
#include <array>

#include "nibble/template/builtins/method_tables.h"
#include "nibble/template/values/arithmetic.h"
#include "nibble/template/values/compare.h"
#include "nibble/template/values/raised.h"

namespace nibble::jinja {
namespace {

constexpr std::array<std::string_view, 5> kDictChanges{"clear", "pop", "popitem", "setdefault",
                                                       "update"};
constexpr std::array<std::string_view, 8> kListChanges{"append", "clear", "pop",    "reverse",
                                                       "insert", "sort",  "extend", "remove"};
/// What every object of Python has, and what containers have besides.
constexpr std::array<std::string_view, 24> kDunders{
    "__class__",   "__delattr__", "__dir__",           "__doc__",         "__eq__",
    "__format__",  "__ge__",      "__getattribute__",  "__getstate__",    "__gt__",
    "__hash__",    "__init__",    "__init_subclass__", "__le__",          "__lt__",
    "__ne__",      "__new__",     "__reduce__",        "__reduce_ex__",   "__repr__",
    "__setattr__", "__sizeof__",  "__str__",           "__subclasshook__"};
constexpr std::array<std::string_view, 4> kContainerDunders{"__contains__", "__getitem__",
                                                            "__iter__", "__len__"};

template <typename Names>
bool holds(const Names& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

const MethodTable* methods_of(const Value& value) {
  if (value.is_text()) return &text_methods();
  if (value.is_dict()) return &dict_methods();
  if (value.is_sequence()) return &sequence_methods();
  return nullptr;
}

}  // namespace

bool is_dunder(const std::string& name) {
  return name.size() > 4 && name.starts_with("__") && name.ends_with("__");
}

bool is_hidden_attribute(const Value& value, const std::string& name) {
  if (value.is_dict() && holds(kDictChanges, name)) return true;
  if (value.is_list() && holds(kListChanges, name)) return true;
  if (!is_dunder(name) || value.is_undefined()) return false;
  if (value.is_object() && value.as_object().type_name() == "TemplateNamespace") return false;
  const bool container = value.is_dict() || value.is_sequence() || value.is_text();
  return holds(kDunders, name) || (container && holds(kContainerDunders, name));
}

bool is_hashable(const Value& value) {
  if (value.is_list() || value.is_dict()) return false;
  if (!value.is_tuple()) return true;
  return std::all_of(value.items().begin(), value.items().end(), is_hashable);
}

std::optional<Value> find_method(const Value& value, const std::string& name) {
  const MethodTable* table = methods_of(value);
  if (table == nullptr) return std::nullopt;
  const auto found = table->find(name);
  if (found == table->end() || (value.is_tuple() && name == "copy")) return std::nullopt;
  const Method method = found->second;
  return Value::object(std::make_shared<Function>(
      name,
      [value, method](Machine& machine, Arguments& arguments) {
        return method(machine, value, arguments);
      },
      value.depth()));
}

std::vector<Value> bind(const std::string& function, const Arguments& arguments,
                        std::initializer_list<Parameter> parameters) {
  if (arguments.positional.size() > parameters.size()) {
    type_error("{}() takes at most {} arguments ({} given)", function, parameters.size(),
               arguments.positional.size());
  }
  std::vector<std::optional<Value>> given(arguments.positional.begin(), arguments.positional.end());
  given.resize(parameters.size());
  for (const auto& [name, value] : arguments.named) {
    const auto* parameter = std::find_if(parameters.begin(), parameters.end(),
                                         [&](const Parameter& p) { return name == p.name; });
    if (parameter == parameters.end()) {
      type_error("{}() got an unexpected keyword argument '{}'", function, name);
    }
    std::optional<Value>& place = given[static_cast<std::size_t>(parameter - parameters.begin())];
    if (place) type_error("{}() got multiple values for argument '{}'", function, name);
    place = value;
  }
  std::vector<Value> values;
  for (std::size_t i = 0; i < given.size(); ++i) {
    const Parameter& parameter = parameters.begin()[i];
    if (!given[i] && !parameter.fallback) {
      type_error("{}() missing 1 required positional argument: '{}'", function, parameter.name);
    }
    values.push_back(given[i] ? *given[i] : *parameter.fallback);
  }
  return values;
}

const std::string& text_argument(const std::string& function, const Value& value) {
  if (!value.is_text()) {
    type_error("{}() argument must be str, not {}", function, type_name(value));
  }
  return value.as_text();
}

}  // namespace nibble::jinja
