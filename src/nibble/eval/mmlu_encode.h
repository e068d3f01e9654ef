// The questions of MMLU as the tokens that a model is given.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "nibble/eval/mmlu_data.h"
#include "nibble/runtime/chat_format.h"
#include "nibble/tokenizer/tokenizer.h"

namespace nibble {

/// The prompts of a subject.
struct MmluPrompts {
  std::vector<std::int32_t> prefix;  // what nearly all begin with, but perhaps for its last tokens
  std::vector<std::vector<std::int32_t>> prompts;  // one a question
  std::int64_t fewer_shots = 0;  // questions that the context has not room for with all shots
};

class MmluEncoder {
 public:
  /// For prompts of up to `context` tokens, `chat` null for a base model. Both must outlive this.
  /// Throws Error if a base model's tokenizer has not a token for each letter.
  MmluEncoder(const Tokenizer& tokenizer, const ChatFormat* chat, std::int64_t context);

  /// A base model gets as many of the shots as fit in the context, question by question, as the
  /// authors' code does it. Throws Error for a question that does not fit without any.
  MmluPrompts encode(const MmluSubject& subject) const;

  /// A base model's tokens for A, B, C, D: the last of "Answer: A" ...
  const std::array<std::int32_t, 4>& letters() const { return letters_; }

 private:
  void find_letters();
  MmluPrompts encode_base(const MmluSubject& subject) const;
  MmluPrompts encode_chat(const MmluSubject& subject) const;
  std::vector<std::int32_t> encode_message(const std::string& message) const;

  const Tokenizer& tokenizer_;
  const ChatFormat* chat_;
  std::size_t context_;
  std::array<std::int32_t, 4> letters_{};
};

/// SHA-256 of the tokens of all prompts.
std::string prompts_sha256(const std::vector<MmluPrompts>& prompts);

}  // namespace nibble
