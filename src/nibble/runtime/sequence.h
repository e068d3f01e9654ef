// A completion that grows by a token a step: logits go in; the token, its text and the reason to
// end come out. Who drives it runs the tokens that a KV cache does not hold yet through the model,
// alone or in one pass with those of other sequences.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nibble/models/model_spec.h"
#include "nibble/runtime/sampler.h"
#include "nibble/runtime/stop_filter.h"
#include "nibble/tokenizer/tokenizer.h"

namespace nibble {

struct GenerateOptions {
  std::int64_t max_tokens = 60;  // new ones at the most
  SamplerOptions sampler;
  std::vector<std::string> stop;  // texts that end generation and are not part of it
  bool ignore_eos = false;
  std::vector<std::int32_t> end_ids;  // tokens that end it besides the model's EOS
};

enum class StopReason { kEos, kStop, kLength, kContext };
/// "eos", "stop", "length", "context".
const char* stop_reason_name(StopReason reason);

/// What a step gives.
struct SequenceStep {
  std::int32_t token = 0;
  std::string_view bytes;  // the token's own, part of a character perhaps; valid with the tokenizer
  std::string text;        // what is final with it: whole characters, and no part of a stop text
};

class Sequence {
 public:
  /// Continues `prompt`, at least a token, up to `capacity` positions: the last token of C
  /// positions needs no place, so that after a prompt of p come C - p + 1. The tokenizer must
  /// outlive this. Throws Error if the prompt is empty or longer, and as Sampler does.
  Sequence(const Tokenizer& tokenizer, const ModelSpec& spec, std::vector<std::int32_t> prompt,
           std::int64_t capacity, const GenerateOptions& options);

  /// The prompt and the new tokens, an EOS that ended it included. They stand at the positions from
  /// 0 on: to run next are those from the length of the cache on.
  std::span<const std::int32_t> tokens() const { return tokens_; }
  std::span<const std::int32_t> new_tokens() const { return tokens().subspan(prompt_size_); }

  /// Takes the next token, by the logits (vocab), which are changed, that the last of tokens()
  /// gave. The step is valid until the next. Not after the end.
  const SequenceStep& step(std::span<float> logits);

  /// The reason to end, once there is one; if no new token is wanted, from the start.
  std::optional<StopReason> finished() const { return finished_; }

 private:
  const Tokenizer* tokenizer_;
  std::vector<std::int32_t> tokens_;
  std::size_t prompt_size_;
  std::int64_t capacity_;
  std::int64_t max_tokens_;
  std::vector<std::int32_t> end_ids_;  // empty if they end nothing
  Sampler sampler_;
  StreamDecoder decoder_;
  StopFilter filter_;
  SequenceStep step_;
  std::optional<StopReason> finished_;
};

}  // namespace nibble
