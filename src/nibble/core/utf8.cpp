#include "nibble/core/utf8.h"

#include <utf8proc.h>

#include <cstdint>
#include <cstring>

#include "nibble/core/error.h"

namespace nibble {
namespace {

constexpr std::string_view kReplacementBytes = "\xEF\xBF\xBD";

unsigned char byte_at(std::string_view bytes, std::size_t i) {
  return static_cast<unsigned char>(bytes[i]);
}

/// Whether `second` may follow `lead` (Unicode 15, table 3-7).
bool valid_second(unsigned char lead, unsigned char second) {
  const unsigned char lo = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned char hi = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  return second >= lo && second <= hi;
}

/// Bytes at the front that are ASCII, eight at a time.
std::size_t ascii_prefix(std::string_view bytes) {
  std::size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    std::uint64_t word;
    std::memcpy(&word, bytes.data() + i, 8);
    if (word & 0x8080808080808080u) break;
  }
  while (i < bytes.size() && byte_at(bytes, i) < 0x80) ++i;
  return i;
}

}  // namespace

Utf8Part front_utf8(std::string_view bytes) {
  const unsigned char lead = byte_at(bytes, 0);
  if (lead < 0x80) return {Utf8Kind::kValid, 1};
  if (lead < 0xC2 || lead > 0xF4) return {Utf8Kind::kInvalid, 1};
  const std::size_t length = utf8_length(bytes[0]);
  for (std::size_t i = 1; i < length; ++i) {
    if (i == bytes.size()) return {Utf8Kind::kIncomplete, i};
    const unsigned char byte = byte_at(bytes, i);
    if (i == 1 ? !valid_second(lead, byte) : (byte & 0xC0) != 0x80) return {Utf8Kind::kInvalid, i};
  }
  return {Utf8Kind::kValid, length};
}

char32_t front_code_point(std::string_view text) {
  const unsigned char lead = byte_at(text, 0);
  if (lead < 0x80) return lead;
  const std::size_t length = utf8_length(text[0]);
  char32_t value = lead & (0x7Fu >> length);
  for (std::size_t i = 1; i < length; ++i) value = value << 6 | (byte_at(text, i) & 0x3Fu);
  return value;
}

std::size_t last_utf8_length(std::string_view text) {
  std::size_t length = 1;
  while ((byte_at(text, text.size() - length) & 0xC0) == 0x80) ++length;
  return length;
}

void append_utf8(std::string& text, char32_t code_point) {
  const auto put = [&](char32_t byte) { text.push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0 | code_point >> 6);
    put(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    put(0xE0 | code_point >> 12);
    put(0x80 | (code_point >> 6 & 0x3F));
    put(0x80 | (code_point & 0x3F));
  } else {
    put(0xF0 | code_point >> 18);
    put(0x80 | (code_point >> 12 & 0x3F));
    put(0x80 | (code_point >> 6 & 0x3F));
    put(0x80 | (code_point & 0x3F));
  }
}

bool is_valid_utf8(std::string_view bytes) {
  while (true) {
    bytes.remove_prefix(ascii_prefix(bytes));
    if (bytes.empty()) return true;
    const Utf8Part part = front_utf8(bytes);
    if (part.kind != Utf8Kind::kValid) return false;
    bytes.remove_prefix(part.length);
  }
}

void require_text(std::string_view text, std::string_view origin) {
  const std::size_t at = text.find('\0');
  if (at == std::string_view::npos) return;
  fail("{}: byte {} is NUL, expected text as UTF-8 (UTF-16 is to be converted)", origin, at);
}

std::string replace_invalid_utf8(std::string_view bytes) {
  std::string pending(bytes);
  std::string text;
  text.reserve(bytes.size());
  drain_utf8(pending, text);
  if (!pending.empty()) text += kReplacementBytes;
  return text;
}

std::size_t display_width(std::string_view text) {
  std::size_t width = 0;
  for (; !text.empty(); text.remove_prefix(utf8_length(text.front()))) {
    const auto code_point = static_cast<utf8proc_int32_t>(front_code_point(text));
    width += static_cast<std::size_t>(utf8proc_charwidth(code_point));
  }
  return width;
}

void drain_utf8(std::string& pending, std::string& text) {
  std::string_view rest = pending;
  while (!rest.empty()) {
    const Utf8Part part = front_utf8(rest);
    if (part.kind == Utf8Kind::kIncomplete) break;
    text += part.kind == Utf8Kind::kValid ? rest.substr(0, part.length) : kReplacementBytes;
    rest.remove_prefix(part.length);
  }
  pending.erase(0, pending.size() - rest.size());
}

}  // namespace nibble
