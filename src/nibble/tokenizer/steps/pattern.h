// A "pattern" of tokenizer.json: a string or a regular expression, and what it finds in a text.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "nibble/core/regex.h"

namespace nibble::tokenizers {

class Pattern {
 public:
  explicit Pattern(Regex regex) : pattern_(std::move(regex)) {}
  explicit Pattern(std::string text) : pattern_(std::move(text)) {}
  /// From {"String": ...} or {"Regex": ...}. Throws Error, opening with `origin`.
  Pattern(const nlohmann::json& json, const std::string& origin);

  /// The next match from `from` on. A match may be empty; an empty string matches nowhere.
  std::optional<Span> find(std::string_view text, std::size_t from) const;
  bool is_string() const { return std::holds_alternative<std::string>(pattern_); }

 private:
  std::variant<std::string, Regex> pattern_;
};

/// Goes through all matches of a pattern in a text from left to right; they do not overlap.
class Matches {
 public:
  Matches(const Pattern& pattern, std::string_view text) : pattern_(pattern), text_(text) {}
  std::optional<Span> next();

 private:
  const Pattern& pattern_;
  std::string_view text_;
  std::size_t from_ = 0;
};

}  // namespace nibble::tokenizers
