#include "nibble/eval/text.h"

#include <utility>

#include "nibble/core/error.h"
#include "nibble/core/mapped_file.h"
#include "nibble/core/utf8.h"
#include "nibble/eval/data_folder.h"

namespace nibble {
namespace fs = std::filesystem;

std::string join_rows(std::string_view raw, PerplexityProtocol protocol) {
  const std::string_view separator = protocol == PerplexityProtocol::kSegments ? "\n" : "\n\n";
  std::string text;
  bool first = true;
  while (!raw.empty()) {
    const std::size_t end = raw.find('\n');
    std::string_view line = raw.substr(0, end);
    raw.remove_prefix(end == std::string_view::npos ? raw.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!first) text += separator;
    first = false;
    if (line.find_first_not_of(" \t\r\v\f") == std::string_view::npos) continue;
    text += line;
    if (end != std::string_view::npos) text += '\n';
  }
  return text;
}

std::string prepare_evaluation_text(std::string text, PerplexityProtocol protocol, bool as_rows) {
  const bool has_rows =
      protocol == PerplexityProtocol::kSegments || protocol == PerplexityProtocol::kPaper;
  if (has_rows && as_rows) return join_rows(text, protocol);
  if (protocol == PerplexityProtocol::kLlamaCpp && text.ends_with('\n')) text.pop_back();
  return text;
}

std::string read_evaluation_text(const fs::path& path, PerplexityProtocol protocol, bool as_rows) {
  std::string text = read_text_file(path);
  require_text(text, path.string());
  return prepare_evaluation_text(std::move(text), protocol,
                                 as_rows || path.filename() == "wiki.test.raw");
}

fs::path default_evaluation_text(WikiText text) {
  const bool raw = text == WikiText::kRaw;
  const char* name = raw ? "wiki.test.raw" : "wiki.test.tokens";
  if (const auto folder = data_folder()) {
    for (const char* place : {".", raw ? "wikitext-2-raw" : "wikitext-2"}) {
      const fs::path file = (*folder / place / name).lexically_normal();
      if (fs::exists(file)) return file;
    }
  }
  fail(
      "no text to measure on: give one with --text, or put WikiText-2's {} (data set "
      "\"wikitext\", configuration {}, from the Hugging Face hub) under $NIBBLE_DATA{}",
      name, raw ? "wikitext-2-raw-v1" : "wikitext-2-v1", data_folder_state());
}

}  // namespace nibble
