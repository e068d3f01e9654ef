// Which tokens of a text are scored, seeing which others, by each way of measuring perplexity.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nibble/eval/perplexity.h"
#include "nibble/tokenizer/tokenizer.h"

namespace nibble {

/// GPTQ's and AWQ's tables, and the published result sheets: segment i of length L is tokens
/// [i L, (i + 1) L), the rest dropped; all but the first of each are scored. At most `most`
/// segments (0: all). Throws Error if there is not one.
std::vector<ScoredWindow> segment_windows(std::span<const std::int32_t> tokens, std::int64_t length,
                                          std::int64_t most);

/// llama.cpp's perplexity tool: the same segments, the first token of each replaced by BOS if the
/// tokenizer puts BOS in front of texts; of L those behind position L / 2 are scored.
std::vector<ScoredWindow> llamacpp_windows(std::span<const std::int32_t> tokens,
                                           const Tokenizer& tokenizer, std::int64_t length,
                                           std::int64_t most);

/// lm-evaluation-harness's task wikitext.
struct WordWindows {
  std::vector<ScoredWindow> windows;
  std::int64_t tokens = 0;
  std::int64_t documents = 0;
  std::int64_t words = 0;
  std::int64_t bytes = 0;
};

/// Each document on its own: its text as wikitext_document_text() makes it, encoded without special
/// tokens. The model sees `length` tokens at a time: the first window scores as many behind BOS
/// (EOS, if there is none), each later one as many behind the token before them; what is left at
/// the end is scored behind so much of the text that the window is full. Units are words, of the
/// document as it stood. At most `most` documents (0: all). Throws Error if there is no token to
/// score, or neither BOS nor EOS.
WordWindows word_windows(std::string_view text, const Tokenizer& tokenizer, std::int64_t length,
                         std::int64_t most);

/// The articles of WikiText: a line " = Title = " begins one.
std::vector<std::string> wikitext_documents(std::string_view text);
/// A document of WikiText as prose: blanks that its tokenizing put around marks taken out.
std::string wikitext_document_text(std::string document);
/// What Python's len(re.split(r"\s+", text)) gives.
std::int64_t count_words(std::string_view text);

}  // namespace nibble
