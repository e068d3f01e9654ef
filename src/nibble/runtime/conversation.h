// A conversation with a model that keeps the KV cache between turns: of each prompt only what the
// cache does not hold yet is computed. A context that is full loses its oldest turns.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "nibble/core/function_ref.h"
#include "nibble/runtime/chat_format.h"
#include "nibble/runtime/generate.h"
#include "nibble/runtime/model.h"
#include "nibble/tokenizer/tokenizer.h"

namespace nibble {

struct ChatMessage {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

/// What one answer took.
struct ChatTurn {
  Generation generation;           // of an answer broken off, its text only
  bool interrupted = false;        // by Ctrl-C
  std::int64_t prompt_tokens = 0;  // of the whole conversation, as the template writes it
  std::int64_t cached_tokens = 0;  // of these, in the cache from earlier turns
  std::int64_t dropped = 0;        // messages dropped to make room
};

struct ConversationOptions {
  std::string system;        // empty: none
  std::int64_t context = 0;  // positions; 0: the model's
  GenerateOptions generate;  // max_tokens below 0: up to the end of the context
};

class Conversation {
 public:
  /// All that is handed in must outlive this.
  Conversation(Model& model, const Tokenizer& tokenizer, const ChatFormat& format,
               ConversationOptions options);

  /// Says `text` and gives the answer, streamed to `on_text`. Ctrl-C ends the answer, not the
  /// conversation. Throws Error if the text alone does not fit in the context, or if the template
  /// fails: then nothing was said.
  ChatTurn answer(const std::string& text, FunctionRef<void(std::string_view)> on_text);

  /// Back to the beginning; the cache stays, as far as the next prompt begins alike.
  void reset();

  const std::vector<ChatMessage>& messages() const { return messages_; }
  const std::vector<ChatTurn>& turns() const { return turns_; }
  /// Positions held and positions there are.
  std::int64_t context_used() const { return cache_.length(); }
  std::int64_t context() const { return cache_.capacity(); }

 private:
  std::vector<std::int32_t> encode_prompt() const;
  /// Drops the oldest turns until the prompt leaves room for an answer.
  std::vector<std::int32_t> fit_prompt(std::int64_t& dropped);
  bool drop_oldest();
  /// Cuts the cache to what it has in common with the prompt; gives how much that is.
  std::int64_t keep_common(const std::vector<std::int32_t>& prompt);
  void generate_answer(const std::vector<std::int32_t>& prompt, ChatTurn& turn,
                       FunctionRef<void(std::string_view)> on_text);

  Model& model_;
  const Tokenizer& tokenizer_;
  const ChatFormat& format_;
  ConversationOptions options_;
  KvCache cache_;
  std::vector<std::int32_t> held_;  // the tokens of the cache, and perhaps more behind them
  std::vector<ChatMessage> messages_;
  std::vector<ChatTurn> turns_;
};

}  // namespace nibble
