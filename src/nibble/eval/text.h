// The text that perplexity is measured on.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace nibble {

enum class PerplexityProtocol { kSegments, kPaper, kLlamaCpp, kWord };

/// WikiText as its Hugging Face data set has it, one row a line, joined: by one newline (segments)
/// or two (paper: GPTQ's and AWQ's). A line of white space only is an empty row; every other keeps
/// its leading blank and its newline.
std::string join_rows(std::string_view raw, PerplexityProtocol protocol);

/// A text as a protocol takes it. Of kSegments and kPaper rows are joined if `as_rows`; of
/// kLlamaCpp a newline at the end is left out, as its tool does.
std::string prepare_evaluation_text(std::string text, PerplexityProtocol protocol, bool as_rows);

/// Reads a text likewise. The rows of a file named wiki.test.raw are joined in any case.
std::string read_evaluation_text(const std::filesystem::path& path, PerplexityProtocol protocol,
                                 bool as_rows);

/// WikiText-2 as it was written, or cut into words, rare ones as <unk>.
enum class WikiText { kRaw, kTokens };

/// wiki.test.raw, or wiki.test.tokens, under $NIBBLE_DATA. Throws Error saying where to get it.
std::filesystem::path default_evaluation_text(WikiText text = WikiText::kRaw);

}  // namespace nibble
