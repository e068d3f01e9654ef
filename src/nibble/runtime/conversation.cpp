#include "nibble/runtime/conversation.h"

#include <algorithm>
#include <utility>

#include "nibble/core/error.h"
#include "nibble/core/interrupt.h"

namespace nibble {
namespace {

// An answer begins only where so many positions are free, or a quarter of a small context.
constexpr std::int64_t kRoom = 256;

}  // namespace

Conversation::Conversation(Model& model, const Tokenizer& tokenizer, const ChatFormat& format,
                           ConversationOptions options)
    : model_(model),
      tokenizer_(tokenizer),
      format_(format),
      options_(std::move(options)),
      cache_(model.make_cache(options_.context)) {
  reset();
}

void Conversation::reset() {
  messages_.clear();
  turns_.clear();
  if (!options_.system.empty()) messages_.push_back({"system", options_.system});
}

std::vector<std::int32_t> Conversation::encode_prompt() const {
  std::vector<jinja::Value> messages;
  for (const auto& [role, content] : messages_) messages.push_back(make_message(role, content));
  const std::string text = format_.render(
      {.messages = jinja::Value::list(std::move(messages)), .add_generation_prompt = true});
  // The template writes BOS itself, where the model wants one.
  return tokenizer_.encode(text, {.add_special = false});
}

bool Conversation::drop_oldest() {
  const auto is_user = [](const ChatMessage& message) { return message.role == "user"; };
  const auto first = std::find_if(messages_.begin(), messages_.end(), is_user);
  const auto second = std::find_if(std::next(first), messages_.end(), is_user);
  if (second == messages_.end()) return false;  // the message just said stays
  messages_.erase(first, second);
  return true;
}

std::vector<std::int32_t> Conversation::fit_prompt(std::int64_t& dropped) {
  const std::int64_t room = std::min(kRoom, cache_.capacity() / 4);
  const std::size_t before = messages_.size();
  for (;;) {
    std::vector<std::int32_t> prompt = encode_prompt();
    const auto size = static_cast<std::int64_t>(prompt.size());
    if (size + room <= cache_.capacity()) return prompt;
    if (drop_oldest()) {
      dropped = static_cast<std::int64_t>(before - messages_.size());
      continue;
    }
    fail(
        "the message takes {} tokens with the template, and {} are left free for the answer, but "
        "the context has {} positions; shorten it, or raise --context",
        size, room, cache_.capacity());
  }
}

std::int64_t Conversation::keep_common(const std::vector<std::int32_t>& prompt) {
  // At least one token of the prompt is computed: its logits begin the answer.
  const std::size_t most =
      std::min({held_.size(), prompt.size() - 1, static_cast<std::size_t>(cache_.length())});
  const auto common = static_cast<std::size_t>(
      std::mismatch(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(most),
                    prompt.begin())
          .first -
      held_.begin());
  cache_.truncate(static_cast<std::int64_t>(common));
  held_.resize(common);
  return static_cast<std::int64_t>(common);
}

void Conversation::generate_answer(const std::vector<std::int32_t>& prompt, ChatTurn& turn,
                                   FunctionRef<void(std::string_view)> on_text) {
  GenerateOptions options = options_.generate;
  if (options.max_tokens < 0) options.max_tokens = cache_.capacity();
  options.end_ids = tokenizer_.end_ids();
  options.sampler.seed += turns_.size();  // another draw each turn
  Sequence sequence(tokenizer_, model_.spec(), prompt, cache_.capacity(), options);
  std::string text;
  const auto emit = [&](std::string_view piece) {
    text += piece;
    on_text(piece);
  };
  try {
    turn.generation = generate(model_, cache_, sequence, emit);
  } catch (const Interrupted&) {
    clear_interrupt();
    turn.interrupted = true;
    turn.generation.text = text;
  }
  held_.assign(sequence.tokens().begin(), sequence.tokens().end());
}

ChatTurn Conversation::answer(const std::string& text,
                              FunctionRef<void(std::string_view)> on_text) {
  const std::vector<ChatMessage> before = messages_;
  ChatTurn turn;
  try {
    messages_.push_back({"user", text});
    const std::vector<std::int32_t> prompt = fit_prompt(turn.dropped);
    if (prompt.empty()) fail("the chat template makes an empty prompt");
    turn.prompt_tokens = static_cast<std::int64_t>(prompt.size());
    turn.cached_tokens = keep_common(prompt);
    generate_answer(prompt, turn, on_text);
  } catch (...) {
    messages_ = before;
    throw;
  }
  messages_.push_back({"assistant", turn.generation.text});
  turns_.push_back(turn);
  return turn;
}

}  // namespace nibble
