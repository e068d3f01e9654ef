#include "nibble/tokenizer/text/byte_level.h"

#include <array>

#include "nibble/core/utf8.h"

namespace nibble::tokenizers {
namespace {

constexpr char32_t kAlphabetEnd = 0x144;  // 256 + 68

struct Alphabet {
  std::array<char32_t, 256> to_char{};
  std::array<std::int16_t, kAlphabetEnd> to_byte{};
};

constexpr Alphabet make_alphabet() {
  Alphabet alphabet;
  alphabet.to_byte.fill(-1);
  char32_t next = 256;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool printable =
        (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xFF && byte != 0xAD);
    const char32_t c = printable ? byte : next++;
    alphabet.to_char[byte] = c;
    alphabet.to_byte[c] = static_cast<std::int16_t>(byte);
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = make_alphabet();

}  // namespace

std::string to_byte_alphabet(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size() + bytes.size() / 4);
  for (const char byte : bytes) {
    append_utf8(text, kAlphabet.to_char[static_cast<unsigned char>(byte)]);
  }
  return text;
}

std::optional<std::string> from_byte_alphabet(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  while (!text.empty()) {
    const char32_t c = front_code_point(text);
    if (c >= kAlphabetEnd || kAlphabet.to_byte[c] < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(kAlphabet.to_byte[c]));
    text.remove_prefix(utf8_length(text[0]));
  }
  return bytes;
}

}  // namespace nibble::tokenizers
