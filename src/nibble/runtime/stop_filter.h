// Holds back text that may be the beginning of a stop text, so that no part of the one that ends
// a generation is ever printed.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace nibble {

class StopFilter {
 public:
  /// Empty stop texts are ignored.
  explicit StopFilter(const std::vector<std::string>& stops);

  /// More text arrived. Gives the part that is now certain to be before any stop text. Of several
  /// stop texts the one that is complete first counts, of those that end together the longest: so
  /// the result does not depend on the pieces in which text arrives.
  std::string push(std::string_view text) { return push(text, false); }
  /// The same of text that a stop text may match and nobody is shown: that of a special token.
  std::string push_hidden(std::string_view text) { return push(text, true); }
  /// Whether a stop text was found; from then on push() gives nothing.
  bool stopped() const { return stopped_; }
  /// No more text will come: gives what was held back.
  std::string finish();

 private:
  std::string push(std::string_view text, bool hidden);
  /// Takes `count` bytes off the front of what is held back; gives those that are shown.
  std::string take(std::size_t count);
  /// Where the stop text that counts begins in held_; npos if there is none.
  std::size_t find_stop() const;

  std::vector<std::string> stops_;
  std::string held_;
  std::vector<bool> hidden_;  // of each byte of held_
  bool stopped_ = false;
};

}  // namespace nibble
