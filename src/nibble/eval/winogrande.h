// WinoGrande (Sakaguchi et al. 2019, "WinoGrande: An Adversarial Winograd Schema Challenge at
// Scale"), from the file of llama.cpp's users, winogrande-debiased-eval.csv, and scored as its
// perplexity tool does it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "nibble/eval/choices.h"
#include "nibble/tokenizer/tokenizer.h"

namespace nibble {

/// A sentence with a gap, and two words for it.
struct WinoGrandeItem {
  std::string before;
  std::string after;
  std::vector<std::string> words;  // 2
  std::size_t right = 0;           // of words
};

/// Records of a number, a sentence with "_" for the gap, two words and the right one's number (1 or
/// 2). Throws Error with the file and the line.
std::vector<WinoGrandeItem> load_winogrande(const std::filesystem::path& file);

/// `count` of them, 0 for all: all in their order, fewer as llama.cpp draws them.
std::vector<WinoGrandeItem> draw_winogrande(std::vector<WinoGrandeItem> items, std::int64_t count);

/// The texts are the sentences. What counts is what follows the word, so that words of different
/// lengths do not; where less than four tokens differ, all of them; the last token only if there
/// is no other. (In the latter case llama.cpp takes the second text's first token by wrong logits.)
ChoiceQuestion winogrande_question(const Tokenizer& tokenizer, const WinoGrandeItem& item);

}  // namespace nibble
