// The methods of each type by name.
#pragma once

#include <string>
#include <unordered_map>

#include "nibble/template/values/value.h"

namespace nibble::jinja {

using Method = Value (*)(Machine& machine, const Value& self, Arguments& arguments);
using MethodTable = std::unordered_map<std::string, Method>;

const MethodTable& text_methods();
const MethodTable& dict_methods();
const MethodTable& sequence_methods();  // those that lists and tuples share

/// {} of str.format(): arguments by index or name, then .attributes and [items].
Value format_text(Machine& machine, const Value& format, const Arguments& arguments);

}  // namespace nibble::jinja
