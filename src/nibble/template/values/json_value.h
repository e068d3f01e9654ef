// Values from JSON, the keys of objects in their order.
#pragma once

#include <string>
#include <string_view>

#include "nibble/template/values/value.h"

namespace nibble::jinja {

/// Throws Error, opening with `origin`, for what is no JSON or nested deeper than 200 levels.
Value parse_json(std::string_view text, const std::string& origin);

}  // namespace nibble::jinja
