#include "nibble/core/refuse.h"

#include "nibble/core/utf8.h"

namespace nibble {

std::string printable(std::string_view text) {
  constexpr std::size_t kMaxBytes = 300;
  std::string out = replace_invalid_utf8(text.substr(0, kMaxBytes));
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  }
  return text.size() > kMaxBytes ? out + "..." : out;
}

}  // namespace nibble
