#include "nibble/tokenizer/steps/pattern.h"

#include <nlohmann/json.hpp>

#include "nibble/core/json.h"
#include "nibble/core/refuse.h"
#include "nibble/core/utf8.h"

namespace nibble::tokenizers {

Pattern::Pattern(const nlohmann::json& json, const std::string& origin) {
  const JsonObject object(json, origin);
  if (const auto text = object.find_string("String")) {
    pattern_ = *text;
  } else if (const auto regex = object.find_string("Regex")) {
    pattern_.emplace<Regex>(*regex, origin);
  } else {
    refuse("{}: pattern: expected \"String\" or \"Regex\"", origin);
  }
}

std::optional<Span> Pattern::find(std::string_view text, std::size_t from) const {
  if (const auto* regex = std::get_if<Regex>(&pattern_)) return regex->find(text, from);
  const std::string& wanted = std::get<std::string>(pattern_);
  const std::size_t begin = wanted.empty() ? std::string_view::npos : text.find(wanted, from);
  if (begin == std::string_view::npos) return std::nullopt;
  return Span{begin, begin + wanted.size()};
}

std::optional<Span> Matches::next() {
  if (from_ > text_.size()) return std::nullopt;
  const auto match = pattern_.find(text_, from_);
  if (!match) {
    from_ = text_.size() + 1;
  } else if (match->end > match->begin) {
    from_ = match->end;
  } else {  // an empty match: go on behind the next character
    from_ = match->end + (match->end < text_.size() ? utf8_length(text_[match->end]) : 1);
  }
  return match;
}

}  // namespace nibble::tokenizers
