// Parses a template into statements, with Jinja's grammar.
#pragma once

#include <string_view>

#include "nibble/template/run/statement.h"

namespace nibble::jinja {

/// Throws SyntaxError. `source`: valid UTF-8.
Body parse(std::string_view source);

}  // namespace nibble::jinja
