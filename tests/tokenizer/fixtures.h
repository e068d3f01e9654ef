// The tokenizers and expected ids under tests/tokenizer/fixtures, made by make_fixtures.py with the
// `tokenizers` and `sentencepiece` packages.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "nibble/core/json.h"
#include "nibble/tokenizer/tokenizer.h"
#include "paths.h"

namespace nibble::testing {

inline std::filesystem::path fixture_folder() {
  return testing::test_file("tokenizer/fixtures");
}

inline const std::vector<std::string>& fixture_names() {
  static const std::vector<std::string> names{
      "falcon",        "gemma",        "llama2",      "llama3",    "metaspace",
      "opt-files",     "prefix-space", "qwen2-files", "smollm",    "sp-bare",
      "sp-continuing", "sp-llama",     "sp-rules",    "sp-suffix", "whitespace"};
  return names;
}

/// The bytes of a case: UTF-8 text, or hex where it is none.
inline std::string case_text(const Json& json) {
  if (json.contains("text")) return json["text"].get<std::string>();
  const auto hex = json["hex"].get<std::string>();
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

inline std::string stream(const Tokenizer& tokenizer, const std::vector<std::int32_t>& ids,
                          const StreamOptions& options = {}) {
  StreamDecoder decoder(tokenizer, options);
  std::string text;
  for (const std::int32_t id : ids) text += decoder.push(id);
  return text + decoder.finish();
}

}  // namespace nibble::testing
