// SentencePiece's normalizer: replacement of characters by a table (nmt_nfkc and the like), blanks
// to "▁", and the blank in front of a text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "nibble/tokenizer/files/sentencepiece_file.h"
#include "nibble/tokenizer/steps/normalizer.h"
#include "nibble/tokenizer/text/prefix_matcher.h"

namespace nibble::tokenizers {

/// The "precompiled_charsmap": a double-array trie (darts-clone) from strings to strings.
class CharsMap {
 public:
  CharsMap() = default;
  /// Throws Error, opening with `origin`, if the sizes in `blob` do not fit.
  CharsMap(std::string_view blob, const std::string& origin);

  struct Match {
    std::size_t length = 0;  // 0: none
    std::string_view replacement;
  };
  Match longest(std::string_view text) const;

 private:
  std::vector<std::uint32_t> units_;
  std::string strings_;  // each ends with a NUL
};

class SentencePieceNormalizer : public Normalizer {
 public:
  /// `user_defined` pieces are left as they are; it must outlive this. `prefix_everywhere`: the
  /// blank in front is put before every part of the input, not only before its beginning.
  SentencePieceNormalizer(const SentencePieceFile& file, const PrefixMatcher& user_defined,
                          bool prefix_everywhere, const std::string& origin);
  std::string normalize(std::string_view text, bool at_start) const override;

 private:
  struct Prefix {
    std::size_t length;  // of the input
    std::string_view output;
  };
  Prefix normalize_prefix(std::string_view text) const;

  CharsMap charsmap_;
  const PrefixMatcher& user_defined_;
  bool add_dummy_prefix_;
  bool prefix_everywhere_;
  bool blank_as_suffix_;
  bool remove_extra_;
  std::string blank_;  // what a blank becomes
};

}  // namespace nibble::tokenizers
