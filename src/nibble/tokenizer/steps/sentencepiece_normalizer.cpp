#include "nibble/tokenizer/steps/sentencepiece_normalizer.h"

#include <cstring>

#include "nibble/core/refuse.h"
#include "nibble/core/utf8.h"
#include "nibble/tokenizer/text/blank_mark.h"

namespace nibble::tokenizers {
namespace {

// The layout of a unit of a darts-clone double array.
std::uint32_t unit_offset(std::uint32_t unit) {
  return (unit >> 10) << ((unit & (1u << 9)) >> 6);
}
bool unit_has_leaf(std::uint32_t unit) {
  return (unit >> 8 & 1) != 0;
}
std::uint32_t unit_label(std::uint32_t unit) {
  return unit & (1u << 31 | 0xFF);
}
std::uint32_t unit_value(std::uint32_t unit) {
  return unit & ~(1u << 31);
}

}  // namespace

CharsMap::CharsMap(std::string_view blob, const std::string& origin) {
  if (blob.empty()) return;
  std::uint32_t trie_bytes = 0;
  if (blob.size() > 4) std::memcpy(&trie_bytes, blob.data(), 4);
  if (trie_bytes == 0 || trie_bytes % 4 != 0 || trie_bytes > blob.size() - 4) {
    refuse("{}: precompiled_charsmap: a trie of {} bytes in {} bytes", origin, trie_bytes,
           blob.size());
  }
  units_.resize(trie_bytes / 4);
  std::memcpy(units_.data(), blob.data() + 4, trie_bytes);
  strings_ = blob.substr(4 + trie_bytes);
  if (strings_.empty() || strings_.back() != '\0' || !is_valid_utf8(strings_)) {
    refuse("{}: precompiled_charsmap: its strings are not UTF-8 with a NUL at the end", origin);
  }
}

CharsMap::Match CharsMap::longest(std::string_view text) const {
  Match best;
  if (units_.empty()) return best;
  std::size_t at = unit_offset(units_[0]);
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    at ^= byte;
    if (at >= units_.size() || unit_label(units_[at]) != byte) break;
    const std::uint32_t unit = units_[at];
    at ^= unit_offset(unit);
    if (at >= units_.size()) break;
    if (!unit_has_leaf(unit)) continue;
    const std::uint32_t value = unit_value(units_[at]);
    if (value < strings_.size()) best = {i + 1, std::string_view(strings_.data() + value)};
  }
  // A table of characters that are cut inside would make invalid text.
  const bool whole =
      best.length == text.size() || (static_cast<unsigned char>(text[best.length]) & 0xC0) != 0x80;
  return whole && is_valid_utf8(best.replacement) ? best : Match{};
}

SentencePieceNormalizer::SentencePieceNormalizer(const SentencePieceFile& file,
                                                 const PrefixMatcher& user_defined,
                                                 bool prefix_everywhere, const std::string& origin)
    : charsmap_(file.precompiled_charsmap, origin),
      user_defined_(user_defined),
      add_dummy_prefix_(file.add_dummy_prefix),
      prefix_everywhere_(prefix_everywhere),
      blank_as_suffix_(file.treat_whitespace_as_suffix),
      remove_extra_(file.remove_extra_whitespaces),
      blank_(file.escape_whitespaces ? kBlankMark : " ") {}

SentencePieceNormalizer::Prefix SentencePieceNormalizer::normalize_prefix(
    std::string_view text) const {
  if (const auto match = user_defined_.longest(text); match.length > 0) {
    return {match.length, text.substr(0, match.length)};
  }
  if (const auto match = charsmap_.longest(text); match.length > 0) {
    return {match.length, match.replacement};
  }
  const std::size_t length = utf8_length(text[0]);
  return {length, text.substr(0, length)};
}

std::string SentencePieceNormalizer::normalize(std::string_view text, bool at_start) const {
  if (remove_extra_) {
    while (!text.empty()) {
      const Prefix prefix = normalize_prefix(text);
      if (prefix.output != " ") break;
      text.remove_prefix(prefix.length);
    }
  }
  std::string out;
  if (text.empty()) return out;
  out.reserve(text.size() * 3 / 2 + 8);
  const bool dummy = add_dummy_prefix_ && (at_start || prefix_everywhere_);
  if (dummy && !blank_as_suffix_) out += blank_;
  bool after_blank = remove_extra_;
  while (!text.empty()) {
    Prefix prefix = normalize_prefix(text);
    text.remove_prefix(prefix.length);
    while (after_blank && prefix.output.starts_with(' ')) prefix.output.remove_prefix(1);
    for (const char byte : prefix.output) {
      byte == ' ' ? out += blank_ : out += byte;
    }
    if (remove_extra_ && !prefix.output.empty()) after_blank = prefix.output.ends_with(' ');
  }
  while (remove_extra_ && out.ends_with(blank_)) out.resize(out.size() - blank_.size());
  if (dummy && blank_as_suffix_) out += blank_;
  return out;
}

}  // namespace nibble::tokenizers
