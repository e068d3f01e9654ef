// GPT-2's alphabet: every byte as one printable character, so that byte strings can be written in
// JSON. Printable Latin-1 stands for itself, the other 68 bytes for U+0100 and on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace nibble::tokenizers {

/// `bytes` written in the alphabet.
std::string to_byte_alphabet(std::string_view bytes);

/// The bytes that `text` (valid UTF-8) stands for; nothing where a character is not in the
/// alphabet.
std::optional<std::string> from_byte_alphabet(std::string_view text);

}  // namespace nibble::tokenizers
