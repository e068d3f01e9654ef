#include "nibble/eval/protocols.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "nibble/core/error.h"
#include "nibble/core/utf8.h"

namespace nibble {
namespace {

std::int64_t count_segments(std::int64_t tokens, std::int64_t length, std::int64_t most) {
  if (length < 2) fail("a segment must have at least 2 tokens, found {}", length);
  if (tokens < length) {
    fail("the text has {} tokens, fewer than one segment of {} (--seqlen)", tokens, length);
  }
  const std::int64_t all = tokens / length;
  return most > 0 ? std::min(all, most) : all;
}

/// Puts `to` in place of every `from`, which it does not make anew.
void replace_all(std::string& text, std::string_view from, std::string_view to) {
  std::string out;
  std::size_t at = 0;
  for (std::size_t found; (found = text.find(from, at)) != std::string::npos;) {
    out.append(text, at, found - at).append(to);
    at = found + from.size();
  }
  text = out.append(text, at);
}

/// Whether Python's \s takes the character.
bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

/// The bytes of white space that valid UTF-8 begins with.
std::size_t leading_space(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size() && is_space(front_code_point(text.substr(at)))) {
    at += utf8_length(text[at]);
  }
  return at;
}

std::string_view trim(std::string_view text) {
  text.remove_prefix(leading_space(text));
  while (!text.empty()) {
    const std::size_t last = last_utf8_length(text);
    if (!is_space(front_code_point(text.substr(text.size() - last)))) break;
    text.remove_suffix(last);
  }
  return text;
}

/// Takes the white space out that stands behind `open` and before the next `close`.
void trim_between(std::string& text, char open, char close) {
  std::string out;
  std::size_t at = 0;
  for (;;) {
    const std::size_t begin = text.find(open, at);
    const std::size_t end = begin == std::string::npos ? begin : text.find(close, begin + 1);
    if (end == std::string::npos) break;
    out.append(text, at, begin + 1 - at);
    out += trim(std::string_view(text).substr(begin + 1, end - begin - 1));
    out += close;
    at = end + 1;
  }
  text = out.append(text, at);
}

/// Whether a line begins an article: " = Title = ", but no " = = Heading = = ".
bool is_title(std::string line) {
  replace_all(line, "= = =", "===");
  replace_all(line, "= =", "==");
  const std::string_view bare = trim(line);
  return bare.starts_with("= ") && bare.ends_with(" =");
}

/// The windows of one document; the last has `units`.
void add_document(std::span<const std::int32_t> tokens, std::int32_t before, std::int64_t length,
                  std::int64_t units, std::vector<ScoredWindow>& windows) {
  const auto most = static_cast<std::size_t>(length);
  for (std::size_t at = 0; at < tokens.size();) {
    const std::size_t end = std::min(at + most, tokens.size());
    const std::size_t begin = at == 0 ? 0 : end - most - 1;
    ScoredWindow window;
    if (at == 0) window.tokens.push_back(before);
    window.first = at == 0 ? 1 : static_cast<std::int64_t>(at - begin);
    const auto part = tokens.subspan(begin, end - begin);
    window.tokens.insert(window.tokens.end(), part.begin(), part.end());
    at = end;
    if (at == tokens.size()) window.units = units;
    windows.push_back(std::move(window));
  }
}

}  // namespace

std::vector<ScoredWindow> segment_windows(std::span<const std::int32_t> tokens, std::int64_t length,
                                          std::int64_t most) {
  std::vector<ScoredWindow> windows;
  for (std::int64_t i = 0; i < count_segments(std::ssize(tokens), length, most); ++i) {
    const auto segment =
        tokens.subspan(static_cast<std::size_t>(i * length), static_cast<std::size_t>(length));
    windows.push_back({{segment.begin(), segment.end()}, 1, length - 1});
  }
  return windows;
}

std::vector<ScoredWindow> llamacpp_windows(std::span<const std::int32_t> tokens,
                                           const Tokenizer& tokenizer, std::int64_t length,
                                           std::int64_t most) {
  if (length < 3) fail("a segment of {} tokens has none to score, expected 3 or more", length);
  const std::vector<std::int32_t> special = tokenizer.encode("");
  const bool adds_bos = !special.empty() && special[0] == tokenizer.bos_id();
  std::vector<ScoredWindow> windows = segment_windows(tokens, length, most);
  for (ScoredWindow& window : windows) {
    if (adds_bos) window.tokens[0] = special[0];
    window.first = length / 2 + 1;
    window.units = length - window.first;
  }
  return windows;
}

WordWindows word_windows(std::string_view text, const Tokenizer& tokenizer, std::int64_t length,
                         std::int64_t most) {
  const std::optional<std::int32_t> bos = tokenizer.bos_id();
  const std::optional<std::int32_t> before = bos ? bos : tokenizer.eos_id();
  if (!before) fail("the tokenizer has neither BOS nor EOS for a document to begin behind");
  WordWindows out;
  for (std::string& document : wikitext_documents(replace_invalid_utf8(text))) {
    if (most > 0 && out.documents == most) break;
    ++out.documents;
    const std::int64_t words = count_words(document);
    out.words += words;
    out.bytes += std::ssize(document);
    const std::vector<std::int32_t> tokens =
        tokenizer.encode(wikitext_document_text(std::move(document)), {.add_special = false});
    out.tokens += std::ssize(tokens);
    add_document(tokens, *before, length, words, out.windows);
  }
  return out;
}

std::vector<std::string> wikitext_documents(std::string_view text) {
  std::vector<std::string> documents;
  std::string document;
  bool is_first = true;  // line of the document
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string line(text.substr(at, end - at));
    at = end + 1;
    if (is_title(line)) {
      if (!trim(document).empty()) documents.push_back(std::move(document));
      document.clear();
      is_first = true;
    }
    if (!is_first) document += '\n';
    is_first = false;
    document += line;
  }
  documents.push_back(std::move(document));
  return documents;
}

std::string wikitext_document_text(std::string document) {
  using Rule = std::pair<std::string_view, std::string_view>;
  static constexpr std::array<Rule, 10> kBefore = {{{"s '", "s'"},
                                                    {" @-@ ", "-"},
                                                    {" @,@ ", ","},
                                                    {" @.@ ", "."},
                                                    {" : ", ": "},
                                                    {" ; ", "; "},
                                                    {" . ", ". "},
                                                    {" ! ", "! "},
                                                    {" ? ", "? "},
                                                    {" , ", ", "}}};
  static constexpr std::array<Rule, 8> kAfter = {{{"= = = =", "===="},
                                                  {"= = =", "==="},
                                                  {"= =", "=="},
                                                  {" \u00b0 ", "\u00b0"},
                                                  {" \n", "\n"},
                                                  {"\n ", "\n"},
                                                  {" N ", " 1 "},
                                                  {" 's", "'s"}}};
  for (const auto& [from, to] : kBefore) replace_all(document, from, to);
  trim_between(document, '(', ')');
  trim_between(document, '[', ']');
  trim_between(document, '{', '}');
  trim_between(document, '"', '"');
  trim_between(document, '\'', '\'');
  for (const auto& [from, to] : kAfter) replace_all(document, from, to);
  return document;
}

std::int64_t count_words(std::string_view text) {
  std::int64_t runs = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t space = leading_space(text.substr(at));
    if (space > 0) ++runs;
    at += space > 0 ? space : utf8_length(text[at]);
  }
  return runs + 1;
}

}  // namespace nibble
