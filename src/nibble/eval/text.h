// The text that perplexity is measured on.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace nibble {

enum class PerplexityProtocol { kSegments, kPaper };

/// WikiText as its Hugging Face data set has it, one row a line, joined: by one newline (segments)
/// or two (paper: GPTQ's and AWQ's). A line of white space only is an empty row; every other keeps
/// its leading blank and its newline.
std::string join_rows(std::string_view raw, PerplexityProtocol protocol);

/// Reads a text. Rows are joined if `as_rows` or if the file is named wiki.test.raw.
std::string read_evaluation_text(const std::filesystem::path& path, PerplexityProtocol protocol,
                                 bool as_rows);

/// wiki.test.raw under $NIBBLE_DATA. Throws Error saying where to get it.
std::filesystem::path default_evaluation_text();

}  // namespace nibble
