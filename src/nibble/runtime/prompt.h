// A text as the tokens that a generation begins with.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "nibble/runtime/model.h"
#include "nibble/tokenizer/tokenizer.h"

namespace nibble {

/// The ids of a prompt. Special tokens in it are tokens, so that it may begin with BOS itself, as
/// what a chat template writes does: then BOS is not put in front of it a second time, with a
/// remark. With `add_special` a prompt without tokens is BOS alone, where the model has one.
std::vector<std::int32_t> encode_prompt(const Model& model, const Tokenizer& tokenizer,
                                        std::string_view text, bool add_special);

}  // namespace nibble
