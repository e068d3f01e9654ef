// Changes to the text before it is cut: the "normalizer" of tokenizer.json, and SentencePiece's.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace nibble::tokenizers {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  /// `text` (valid UTF-8) as the model wants it. `at_start`: the very beginning of the input, not
  /// the part after a special token.
  virtual std::string normalize(std::string_view text, bool at_start) const = 0;
  /// Whether `text` stays as it is; found faster than by doing it.
  virtual bool leaves(std::string_view text) const {
    (void)text;
    return false;
  }
};

/// From the value of "normalizer" (an object). Throws Error, opening with `origin`, for a type or
/// a setting that is not supported.
std::unique_ptr<Normalizer> make_normalizer(const nlohmann::json& json, const std::string& origin);

}  // namespace nibble::tokenizers
