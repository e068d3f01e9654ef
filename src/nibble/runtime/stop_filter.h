// Holds back text that may be the beginning of a stop text, so that no part of one is ever printed.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace nibble {

class StopFilter {
 public:
  /// Empty stop texts are ignored.
  explicit StopFilter(const std::vector<std::string>& stops);

  /// More text arrived. Gives the part that is now certain to be before any stop text.
  std::string push(std::string_view text);
  /// Whether a stop text was found; from then on push() gives nothing.
  bool stopped() const { return stopped_; }
  /// No more text will come: gives what was held back.
  std::string finish();

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace nibble
