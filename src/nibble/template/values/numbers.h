// Numbers out of texts, as Python's int() and float() read them.
#pragma once

#include <optional>
#include <string_view>

#include "nibble/template/values/value.h"

namespace nibble::jinja {

/// Nothing if the text is no integer of this base (0: as its prefix says).
std::optional<Int> parse_integer(std::string_view text, int base);
std::optional<double> parse_real(std::string_view text);

}  // namespace nibble::jinja
