// Tokens that are looked for in the text before anything else: special ones (control tokens such as
// "<|im_start|>") and others that were added to a vocabulary. The rules are those of the
// `tokenizers` library: leftmost, longest match first.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "nibble/core/function_ref.h"
#include "nibble/tokenizer/steps/normalizer.h"
#include "nibble/tokenizer/text/prefix_matcher.h"

namespace nibble::tokenizers {

struct AddedToken {
  std::int32_t id = -1;
  std::string content;
  bool special = false;
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // takes the blanks before it
  bool rstrip = false;       // takes the blanks behind it
  bool normalized = false;   // looked for in the normalised text, itself normalised
};

/// A part of a text: a token, or text between tokens.
struct Section {
  std::string_view text;
  std::int32_t id;  // -1: text
};
using SectionSink = FunctionRef<void(Section)>;

class AddedTokens {
 public:
  AddedTokens() = default;
  /// Throws Error, opening with `origin`, if a token is too long. `normalizer` may be null.
  AddedTokens(std::vector<AddedToken> tokens, const Normalizer* normalizer,
              const std::string& origin);

  /// Cuts raw text at the tokens that are looked for there. Without `parse_special`, special ones
  /// are text. Text sections are never empty.
  void split_raw(std::string_view text, bool parse_special, SectionSink sink) const;
  /// Likewise for text that is normalised.
  void split_normalized(std::string_view text, bool parse_special, SectionSink sink) const;

  const std::vector<AddedToken>& tokens() const { return tokens_; }
  /// The token of this id, or null.
  const AddedToken* find(std::int32_t id) const;
  const AddedToken* find(std::string_view content) const;

 private:
  void split(const PrefixMatcher& matcher, std::string_view text, bool parse_special,
             SectionSink sink) const;

  std::vector<AddedToken> tokens_;  // by id
  PrefixMatcher raw_;               // values are indices of tokens_
  PrefixMatcher normalized_;
  PrefixMatcher contents_;
};

}  // namespace nibble::tokenizers
