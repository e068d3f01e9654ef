#include "nibble/eval/mmlu_encode.h"

#include <algorithm>

#include "nibble/core/error.h"
#include "nibble/core/sha256.h"
#include "nibble/eval/mmlu_prompt.h"

namespace nibble {
namespace {

using Tokens = std::vector<std::int32_t>;

/// What is behind the tokens that `text` has in common with `start`.
Tokens rest_of(const Tokens& text, const Tokens& start) {
  const auto most = static_cast<std::ptrdiff_t>(std::min(text.size(), start.size()));
  return {std::mismatch(text.begin(), text.begin() + most, start.begin()).first, text.end()};
}

[[noreturn]] void fail_too_long(const MmluSubject& subject, std::size_t question,
                                std::size_t tokens, std::size_t context) {
  fail("{}, question {}: {} tokens, but the context has {} (-c/--context)", subject.name,
       question + 1, tokens, context);
}

}  // namespace

MmluEncoder::MmluEncoder(const Tokenizer& tokenizer, const ChatFormat* chat, std::int64_t context)
    : tokenizer_(tokenizer), chat_(chat), context_(static_cast<std::size_t>(context)) {
  if (chat == nullptr) find_letters();
}

void MmluEncoder::find_letters() {
  for (std::size_t i = 0; i < letters_.size(); ++i) {
    const std::string text = std::string("Answer: ") + static_cast<char>('A' + i);
    letters_[i] = tokenizer_.encode(text, {.add_special = false}).back();
    const auto end = letters_.begin() + static_cast<std::ptrdiff_t>(i);
    if (std::find(letters_.begin(), end, letters_[i]) != end) {
      fail("the tokenizer ends \"{}\" with a token that it ends another letter with", text);
    }
  }
}

MmluPrompts MmluEncoder::encode(const MmluSubject& subject) const {
  return chat_ == nullptr ? encode_base(subject) : encode_chat(subject);
}

MmluPrompts MmluEncoder::encode_base(const MmluSubject& subject) const {
  std::vector<std::string> shots;  // with 0, 1 ... of them
  for (std::size_t n = 0; n <= subject.shots.size(); ++n) {
    shots.push_back(mmlu_shots_text(subject, n));
  }
  MmluPrompts out;
  for (std::size_t i = 0; i < subject.questions.size(); ++i) {
    const std::string question = mmlu_question_text(subject.questions[i]);
    Tokens prompt;
    std::size_t n = shots.size();
    do {
      prompt = tokenizer_.encode(shots[--n] + question);
    } while (n > 0 && prompt.size() > context_);
    if (prompt.size() > context_) fail_too_long(subject, i, prompt.size(), context_);
    if (n + 1 < shots.size()) ++out.fewer_shots;
    out.prompts.push_back(std::move(prompt));
  }
  out.prefix = tokenizer_.encode(shots.back() + "Question:");
  if (out.prefix.size() > context_) out.prefix.resize(context_);
  return out;
}

MmluPrompts MmluEncoder::encode_chat(const MmluSubject& subject) const {
  MmluPrompts out;
  for (std::size_t i = 0; i < subject.questions.size(); ++i) {
    out.prompts.push_back(encode_message(mmlu_chat_message(subject.questions[i])));
    const std::size_t size = out.prompts.back().size();
    if (size > context_) fail_too_long(subject, i, size, context_);
    if (size == 0) fail("the chat template makes an empty prompt");
  }
  // The template's end and the question's beginning differ: what they have in common is enough.
  const Tokens start = encode_message(std::string(mmlu_chat_instruction()));
  const Tokens differs = rest_of(start, out.prompts.front());
  out.prefix.assign(start.begin(), start.end() - std::ssize(differs));
  return out;
}

std::vector<std::int32_t> MmluEncoder::encode_message(const std::string& message) const {
  const std::string text =
      chat_->render({.messages = jinja::Value::list({make_message("user", message)}),
                     .add_generation_prompt = true});
  return tokenizer_.encode(text, {.add_special = false});  // the template writes BOS itself
}

std::string prompts_sha256(const std::vector<MmluPrompts>& prompts) {
  std::string bytes;
  for (const MmluPrompts& subject : prompts) {
    for (const Tokens& prompt : subject.prompts) {
      const auto size = static_cast<std::int32_t>(prompt.size());  // tells one from the next
      bytes.append(reinterpret_cast<const char*>(&size), sizeof size);
      bytes.append(reinterpret_cast<const char*>(prompt.data()), prompt.size() * sizeof size);
    }
  }
  return sha256_hex(bytes);
}

}  // namespace nibble
