// The filters (`value | name(arguments)`) and tests (`value is name(arguments)`) of Jinja.
#pragma once

#include <string>

#include "nibble/template/run/machine.h"
#include "nibble/template/values/value.h"

namespace nibble::jinja {

/// The filtered value is the first of `arguments`.
using Filter = Value (*)(Machine& machine, Arguments& arguments);
/// Null if there is none of that name.
Filter find_filter(const std::string& name);

/// The value tested is the first of `arguments`.
using Test = bool (*)(Machine& machine, Arguments& arguments);
Test find_test(const std::string& name);

/// Those that map(), select() and their like are given by name. Throw Raised if unknown.
Filter get_filter(const std::string& name);
Test get_test(const std::string& name);

/// range, dict, namespace, raise_exception and the other functions that every template begins with.
void add_globals(Dict& globals);

}  // namespace nibble::jinja
