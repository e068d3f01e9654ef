#include "nibble/tokenizer/steps/added_tokens.h"

#include <algorithm>

#include "nibble/core/refuse.h"
#include "nibble/core/utf8.h"
#include "nibble/tokenizer/text/unicode.h"

namespace nibble::tokenizers {
namespace {

// A longer one could make the search through a text quadratic.
constexpr std::size_t kMaxContent = 1024;

bool ends_with_word(std::string_view text) {
  if (text.empty()) return false;
  return is_word(front_code_point(text.substr(text.size() - last_utf8_length(text))));
}

bool starts_with_word(std::string_view text) {
  return !text.empty() && is_word(front_code_point(text));
}

/// Where the blanks at the end of text[0, end) start, `begin` at the least.
std::size_t skip_blanks_back(std::string_view text, std::size_t begin, std::size_t end) {
  while (end > begin) {
    const std::size_t length = last_utf8_length(text.substr(0, end));
    if (!is_whitespace(front_code_point(text.substr(end - length)))) break;
    end -= length;
  }
  return end;
}

std::size_t skip_blanks(std::string_view text, std::size_t begin) {
  while (begin < text.size() && is_whitespace(front_code_point(text.substr(begin)))) {
    begin += utf8_length(text[begin]);
  }
  return begin;
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, const Normalizer* normalizer,
                         const std::string& origin)
    : tokens_(std::move(tokens)) {
  std::sort(tokens_.begin(), tokens_.end(), [](auto& a, auto& b) { return a.id < b.id; });
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    const AddedToken& token = tokens_[i];
    if (token.content.size() > kMaxContent) {
      refuse("{}: an added token of {} bytes, at most {} allowed", origin, token.content.size(),
             kMaxContent);
    }
    if (!is_valid_utf8(token.content)) refuse("{}: added token {} is not UTF-8", origin, token.id);
    if (token.content.empty()) continue;
    const auto index = static_cast<std::int32_t>(i);
    contents_.add(token.content, index);
    if (!token.normalized) {
      raw_.add(token.content, index);
      continue;
    }
    const std::string wanted =
        normalizer ? normalizer->normalize(token.content, true) : token.content;
    if (!wanted.empty()) normalized_.add(wanted, index);
  }
}

const AddedToken* AddedTokens::find(std::int32_t id) const {
  const auto found =
      std::lower_bound(tokens_.begin(), tokens_.end(), id,
                       [](auto& token, std::int32_t want) { return token.id < want; });
  return found != tokens_.end() && found->id == id ? &*found : nullptr;
}

const AddedToken* AddedTokens::find(std::string_view content) const {
  const auto match = contents_.longest(content);
  if (match.length == 0 || match.length != content.size()) return nullptr;
  return &tokens_[static_cast<std::size_t>(match.value)];
}

void AddedTokens::split_raw(std::string_view text, bool parse_special, SectionSink sink) const {
  split(raw_, text, parse_special, sink);
}

void AddedTokens::split_normalized(std::string_view text, bool parse_special,
                                   SectionSink sink) const {
  split(normalized_, text, parse_special, sink);
}

void AddedTokens::split(const PrefixMatcher& matcher, std::string_view text, bool parse_special,
                        SectionSink sink) const {
  std::size_t done = 0;
  for (std::size_t at = matcher.candidate(text, 0); at < text.size();) {
    const auto match = matcher.longest(text.substr(at));
    if (match.length == 0) {
      at = matcher.candidate(text, at + 1);
      continue;
    }
    const AddedToken& token = tokens_[static_cast<std::size_t>(match.value)];
    std::size_t begin = at;
    std::size_t end = at + match.length;
    at = end;  // a token that is not taken is not looked into either
    const bool in_word = token.single_word && (ends_with_word(text.substr(0, begin)) ||
                                               starts_with_word(text.substr(end)));
    if (!in_word && (parse_special || !token.special) && begin >= done) {
      if (token.lstrip) begin = skip_blanks_back(text, done, begin);
      if (token.rstrip) end = skip_blanks(text, end);
      if (begin > done) sink({text.substr(done, begin - done), -1});
      sink({text.substr(begin, end - begin), token.id});
      done = end;
    }
    at = matcher.candidate(text, at);
  }
  if (done < text.size()) sink({text.substr(done), -1});
}

}  // namespace nibble::tokenizers
