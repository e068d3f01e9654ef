#include "nibble/runtime/sequence.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "nibble/core/error.h"

namespace nibble {

const char* stop_reason_name(StopReason reason) {
  switch (reason) {
    case StopReason::kEos:
      return "eos";
    case StopReason::kStop:
      return "stop";
    case StopReason::kLength:
      return "length";
    case StopReason::kContext:
      return "context";
  }
  return "";
}

Sequence::Sequence(const Tokenizer& tokenizer, const ModelSpec& spec,
                   std::vector<std::int32_t> prompt, std::int64_t capacity,
                   const GenerateOptions& options)
    : tokenizer_(&tokenizer),
      tokens_(std::move(prompt)),
      prompt_size_(tokens_.size()),
      capacity_(capacity),
      max_tokens_(options.max_tokens),
      sampler_(options.sampler),
      decoder_(tokenizer, {.skip_special = true, .continues = true}),
      filter_(options.stop) {
  if (tokens_.empty()) fail("the prompt is empty, and this model has no BOS token to begin with");
  const std::int64_t most = capacity - std::ssize(tokens_) + 1;  // new tokens
  if (most < 1) {
    fail(
        "the prompt has {} tokens, but only {} of the context's {} positions are free; "
        "shorten it, or raise --context",
        tokens_.size(), capacity, capacity);
  }
  if (!options.ignore_eos) {
    end_ids_ = spec.eos;
    end_ids_.insert(end_ids_.end(), options.end_ids.begin(), options.end_ids.end());
  }
  // So that a step need not allocate.
  tokens_.reserve(tokens_.size() +
                  static_cast<std::size_t>(std::clamp<std::int64_t>(
                      options.max_tokens, 0, std::min<std::int64_t>(most, 1 << 20))));
  if (max_tokens_ <= 0) finished_ = StopReason::kLength;
}

const SequenceStep& Sequence::step(std::span<float> logits) {
  assert(!finished_);
  const std::int32_t token = sampler_.sample(logits, tokens_);
  tokens_.push_back(token);
  step_.token = token;
  step_.bytes = tokenizer_->token_bytes(token);
  step_.text.clear();
  const bool is_end = std::find(end_ids_.begin(), end_ids_.end(), token) != end_ids_.end();
  if (!is_end) step_.text = filter_.push(decoder_.push(token));
  if (is_end) {
    finished_ = StopReason::kEos;
  } else if (filter_.stopped()) {
    finished_ = StopReason::kStop;
  } else if (std::ssize(new_tokens()) == max_tokens_) {
    finished_ = StopReason::kLength;
  } else if (std::ssize(tokens_) > capacity_) {
    finished_ = StopReason::kContext;
  }
  if (finished_ && !filter_.stopped()) {  // what might have become a character, or a stop text
    step_.text += filter_.push(decoder_.finish());
    step_.text += filter_.finish();
  }
  return step_;
}

}  // namespace nibble
