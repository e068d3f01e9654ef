// HellaSwag (Zellers et al. 2019, "HellaSwag: Can a Machine Really Finish Your Sentence?"), from
// the file of llama.cpp's users, hellaswag_val_full.txt, and scored as its perplexity tool does it
// (acc_norm).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "nibble/eval/choices.h"
#include "nibble/tokenizer/tokenizer.h"

namespace nibble {

struct HellaSwagItem {
  std::string context;
  std::vector<std::string> endings;  // 4
  std::size_t right = 0;             // of endings
};

/// Six lines each: the context, the number of the right ending (from 0), the endings. Throws Error
/// with the file and the line.
std::vector<HellaSwagItem> load_hellaswag(const std::filesystem::path& file);

/// `count` of them, 0 for all, in the order in which llama.cpp (built with GNU's library) draws
/// them.
std::vector<HellaSwagItem> draw_hellaswag(const std::vector<HellaSwagItem>& items,
                                          std::int64_t count);

/// The texts are the context, a blank and an ending; what counts is all that they have not in
/// common.
ChoiceQuestion hellaswag_question(const Tokenizer& tokenizer, const HellaSwagItem& item);

}  // namespace nibble
