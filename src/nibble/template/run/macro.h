// A macro as a value: it can be called, with the variables that stood around its definition.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "nibble/template/run/statement.h"

namespace nibble::jinja {

class MacroObject : public Object {
 public:
  /// `definition` must outlive the rendering. The scope is handed to machine.keep().
  MacroObject(const MacroDefinition& definition, Machine& machine);

  std::string type_name() const override { return "Macro"; }
  std::string described() const override { return "jinja2.runtime.Macro object"; }
  std::string repr() override;
  bool callable() const override { return true; }
  std::optional<Value> attribute(Machine& machine, const std::string& name) override;
  Value call(Machine& machine, Arguments& arguments) override;

 private:
  /// What is given for each parameter; named ones are taken out of `arguments`.
  std::vector<std::optional<Value>> take_parameters(Arguments& arguments) const;
  void set_parameters(Machine& machine, const std::vector<std::optional<Value>>& given) const;
  /// Sets caller, kwargs and varargs from what is left of `arguments`. Throws Raised for what the
  /// macro has no use for.
  void set_rest(Machine& machine, Arguments& arguments) const;
  [[noreturn]] void refuse_named(Arguments& arguments) const;
  std::string shown_name() const;

  const MacroDefinition& definition_;
  std::shared_ptr<Scope> scope_;
};

}  // namespace nibble::jinja
