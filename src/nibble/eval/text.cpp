#include "nibble/eval/text.h"

#include <cstdlib>

#include "nibble/core/error.h"
#include "nibble/core/mapped_file.h"

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

std::string read_evaluation_text(const fs::path& path, PerplexityProtocol protocol, bool as_rows) {
  std::string text = read_text_file(path);
  if (as_rows || path.filename() == "wiki.test.raw") return join_rows(text, protocol);
  return text;
}

fs::path default_evaluation_text() {
  const char* folder = std::getenv("NIBBLE_DATA");
  if (folder != nullptr && *folder != '\0') {
    for (const char* place : {"wiki.test.raw", "wikitext-2-raw/wiki.test.raw"}) {
      if (fs::exists(fs::path(folder) / place)) return fs::path(folder) / place;
    }
  }
  fail(
      "no text to measure on: give one with --text, or put WikiText-2's wiki.test.raw (data set "
      "\"wikitext\", configuration wikitext-2-raw-v1, from the Hugging Face hub) under "
      "$NIBBLE_DATA{}",
      folder == nullptr ? ", which is not set" : fmt::format(" = {}", folder));
}

}  // namespace nibble
