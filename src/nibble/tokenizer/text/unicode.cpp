#include "nibble/tokenizer/text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <vector>

#include "nibble/core/refuse.h"
#include "nibble/core/utf8.h"

namespace nibble::tokenizers {
namespace {

utf8proc_category_t category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

utf8proc_option_t form_options(NormalForm form) {
  int options = UTF8PROC_STABLE;
  const bool compose = form == NormalForm::kNfc || form == NormalForm::kNfkc;
  options |= compose ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
  if (form == NormalForm::kNfkc || form == NormalForm::kNfkd) options |= UTF8PROC_COMPAT;
  return static_cast<utf8proc_option_t>(options);
}

/// Appends the normal form of `text`. `buffer` is scratch memory.
void append_normal(std::string& out, std::string_view text, utf8proc_option_t options,
                   std::vector<utf8proc_int32_t>& buffer) {
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  const auto size = static_cast<utf8proc_ssize_t>(text.size());
  const auto decompose = [&] {
    return utf8proc_decompose(bytes, size, buffer.data(),
                              static_cast<utf8proc_ssize_t>(buffer.size()) - 1, options);
  };
  buffer.resize(std::max(buffer.size(), text.size() * 2 + 1));
  utf8proc_ssize_t count = decompose();
  if (count >= static_cast<utf8proc_ssize_t>(buffer.size())) {
    buffer.resize(static_cast<std::size_t>(count) + 1);  // reencode() ends the text with a NUL
    count = decompose();
  }
  if (count >= 0) count = utf8proc_reencode(buffer.data(), count, options);
  if (count < 0) refuse("cannot normalise a text: {}", utf8proc_errmsg(count));
  out.append(reinterpret_cast<const char*>(buffer.data()), static_cast<std::size_t>(count));
}

}  // namespace

bool is_whitespace(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= '\t' && c <= '\r');
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_numeric(char32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  const auto found = category(c);
  return found >= UTF8PROC_CATEGORY_ND && found <= UTF8PROC_CATEGORY_NO;
}

bool is_punctuation(char32_t c) {
  if (c < 0x80) {
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
           (c >= '{' && c <= '~');
  }
  const auto found = category(c);
  return found >= UTF8PROC_CATEGORY_PC && found <= UTF8PROC_CATEGORY_PO;
}

bool is_word(char32_t c) {
  const auto found = category(c);
  return (found >= UTF8PROC_CATEGORY_LU && found <= UTF8PROC_CATEGORY_LO) || is_mark(c) ||
         found == UTF8PROC_CATEGORY_ND || found == UTF8PROC_CATEGORY_NL ||
         found == UTF8PROC_CATEGORY_PC || c == 0x200C || c == 0x200D;
}

bool is_mark(char32_t c) {
  const auto found = category(c);
  return found >= UTF8PROC_CATEGORY_MN && found <= UTF8PROC_CATEGORY_ME;
}

void append_lowercase(std::string& text, char32_t c) {
  append_utf8(text, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
  if (c == 0x130) append_utf8(text, 0x307);  // the one character with a longer lower case
}

// Characters below a bound are the same in the normal form, and never join with what stands before
// them: only runs of characters above the bound, each with the one character before it (which may
// join with the run), have to be worked on. For NFC the bound is U+0300, else that of ASCII.
std::string normalize_unicode(std::string_view text, NormalForm form) {
  const auto options = form_options(form);
  const unsigned char bound = form == NormalForm::kNfc ? 0xCC : 0x80;  // U+0300 is CC 80
  std::vector<utf8proc_int32_t> buffer;
  std::string out;
  out.reserve(text.size() + text.size() / 8);
  const auto inert = [&](std::size_t i) { return static_cast<unsigned char>(text[i]) < bound; };
  std::size_t done = 0;
  std::size_t previous = 0;  // where the character before i starts
  for (std::size_t i = 0; i < text.size();) {
    if (inert(i)) {
      previous = i;
      i += utf8_length(text[i]);
      continue;
    }
    out.append(text, done, previous - done);
    while (i < text.size() && !inert(i)) i += utf8_length(text[i]);
    append_normal(out, text.substr(previous, i - previous), options, buffer);
    done = previous = i;
  }
  out.append(text, done);
  return out;
}

}  // namespace nibble::tokenizers
