// Which of several names somebody meant who misspelt one.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace nibble {

/// The name that is fewest slips away from `word`: characters left out, added, replaced, or two
/// neighbours swapped (the restricted Damerau-Levenshtein distance, in bytes). The first of
/// several; nothing if every name is more than a third of its length away.
std::optional<std::string> nearest_name(std::string_view word, std::span<const std::string> names);

}  // namespace nibble
