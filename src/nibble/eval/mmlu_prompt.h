// How a question of MMLU is put to a model, and how a letter is read out of what it says.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "nibble/eval/mmlu_data.h"

namespace nibble {

/// What stands before a base model's question: a line about the subject and the first `shots` of
/// its shots with their answers.
std::string mmlu_shots_text(const MmluSubject& subject, std::size_t shots);

/// A base model's question, which ends in "Answer:".
std::string mmlu_question_text(const MmluQuestion& question);

/// What a chat model is asked with: the message of Qwen's evaluation of MMLU, which published
/// figures of chat models use. It begins with mmlu_chat_instruction().
std::string mmlu_chat_message(const MmluQuestion& question);
std::string_view mmlu_chat_instruction();

/// The letter that a reply chooses, by the first of these that it has: the letter alone at its
/// beginning ("B", "(B)", "**B.** ..."); one named as the answer ("the answer is B", "I choose
/// (B)"); one said to be right ("B is correct"); the text of one choice; a letter by itself
/// somewhere. Nothing if it has none.
std::optional<char> read_mmlu_letter(std::string_view reply, const MmluQuestion& question);

}  // namespace nibble
