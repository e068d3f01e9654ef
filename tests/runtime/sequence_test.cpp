// A sequence stepped by hand, with logits that are made up.
#include "nibble/runtime/sequence.h"

#include <algorithm>

#include "core/error_matchers.h"
#include "nibble/models/checkpoint.h"
#include "paths.h"

namespace nibble {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class Sequences : public ::testing::Test {
 protected:
  Sequence start(const GenerateOptions& options, std::int64_t capacity = 100) const {
    return Sequence(tokenizer_, checkpoint_.spec(), prompt_, capacity, options);
  }
  /// A step in which `token` is the most likely.
  static SequenceStep step(Sequence& sequence, std::int32_t token) {
    std::vector<float> logits(512);
    logits[static_cast<std::size_t>(token)] = 1;
    return sequence.step(logits);
  }
  std::int32_t id_of(std::string_view token) const { return tokenizer_.token_to_id(token).value(); }

  Checkpoint checkpoint_{testing::data_file("stories260K")};
  Tokenizer tokenizer_ = checkpoint_.load_tokenizer();
  std::vector<std::int32_t> prompt_ = tokenizer_.encode("Once upon a time");
};

TEST_F(Sequences, AStepGivesTokenBytesAndText) {
  Sequence sequence = start({.max_tokens = 3});
  EXPECT_TRUE(std::ranges::equal(sequence.tokens(), prompt_));
  EXPECT_TRUE(sequence.new_tokens().empty());
  EXPECT_FALSE(sequence.finished());
  const SequenceStep first = step(sequence, id_of("▁the"));
  EXPECT_EQ(first.token, id_of("▁the"));
  EXPECT_EQ(first.bytes, " the");
  EXPECT_EQ(first.text, " the");
  EXPECT_FALSE(sequence.finished());
  EXPECT_EQ(sequence.new_tokens().size(), 1u);
  EXPECT_EQ(sequence.tokens().size(), prompt_.size() + 1);
  EXPECT_EQ(sequence.tokens().back(), first.token);
  step(sequence, id_of("▁a"));
  const SequenceStep last = step(sequence, id_of("▁and"));
  EXPECT_EQ(last.text, " and");
  EXPECT_EQ(sequence.finished(), StopReason::kLength);
}

// A character comes with its last byte, or as U+FFFD with the end.
TEST_F(Sequences, ACharacterOfSeveralTokensIsTextWhenItIsWhole) {
  Sequence sequence = start({.max_tokens = 3});
  const SequenceStep first = step(sequence, id_of("<0xC3>"));
  EXPECT_EQ(first.bytes, "\xc3");
  EXPECT_EQ(first.text, "");
  EXPECT_EQ(step(sequence, id_of("<0xA9>")).text, "é");
  EXPECT_EQ(step(sequence, id_of("<0xC3>")).text, "\ufffd");
  EXPECT_EQ(sequence.finished(), StopReason::kLength);
}

TEST_F(Sequences, EndTokensEndItWithoutText) {
  const std::int32_t eos = checkpoint_.spec().eos.front();
  Sequence sequence = start({});
  step(sequence, id_of("<0xC3>"));
  const SequenceStep last = step(sequence, eos);
  EXPECT_EQ(last.token, eos);
  EXPECT_EQ(last.text, "\ufffd");  // of what was there before
  EXPECT_EQ(sequence.finished(), StopReason::kEos);
  EXPECT_EQ(sequence.new_tokens().back(), eos);

  Sequence deaf = start({.max_tokens = 2, .ignore_eos = true, .end_ids = {300}});
  step(deaf, eos);
  EXPECT_FALSE(deaf.finished());
  step(deaf, 300);
  EXPECT_EQ(deaf.finished(), StopReason::kLength);

  Sequence other = start({.end_ids = {300}});
  step(other, 300);
  EXPECT_EQ(other.finished(), StopReason::kEos);
}

TEST_F(Sequences, AStopTextIsHeldBackAndEndsIt) {
  Sequence sequence = start({.stop = {"the and"}});
  EXPECT_EQ(step(sequence, id_of("▁the")).text, " ");
  EXPECT_EQ(step(sequence, id_of("▁the")).text, "the ");  // the first one led nowhere
  const SequenceStep last = step(sequence, id_of("▁and"));
  EXPECT_EQ(last.text, "");
  EXPECT_EQ(sequence.finished(), StopReason::kStop);
  EXPECT_EQ(sequence.new_tokens().size(), 3u);
}

TEST_F(Sequences, TheContextEndsIt) {
  Sequence sequence = start({}, static_cast<std::int64_t>(prompt_.size()) + 1);
  step(sequence, 300);
  EXPECT_FALSE(sequence.finished());
  step(sequence, 300);  // has no place to be computed at
  EXPECT_EQ(sequence.finished(), StopReason::kContext);
}

TEST_F(Sequences, NoNewTokenIsAnEndToo) {
  EXPECT_EQ(start({.max_tokens = 0}).finished(), StopReason::kLength);
}

TEST_F(Sequences, ThePenaltyKnowsThePrompt) {
  Sequence sequence = start({.sampler = {.repeat_penalty = 2}});
  std::vector<float> logits(512);
  logits[static_cast<std::size_t>(prompt_.back())] = 1;
  logits[300] = 0.75f;
  EXPECT_EQ(sequence.step(logits).token, 300);
}

TEST_F(Sequences, RefusesPromptsThatCannotBe) {
  EXPECT_ERROR(start({}, static_cast<std::int64_t>(prompt_.size()) - 1),
               AllOf(HasSubstr(std::to_string(prompt_.size())), HasSubstr("--context")));
  prompt_.clear();
  EXPECT_ERROR(start({}), HasSubstr("empty"));
  EXPECT_ERROR(Sequence(tokenizer_, checkpoint_.spec(), {1}, 10, {.sampler = {.top_p = 2}}),
               HasSubstr("top-p"));
}

TEST(StopReasons, HaveNames) {
  EXPECT_STREQ(stop_reason_name(StopReason::kEos), "eos");
  EXPECT_STREQ(stop_reason_name(StopReason::kStop), "stop");
  EXPECT_STREQ(stop_reason_name(StopReason::kLength), "length");
  EXPECT_STREQ(stop_reason_name(StopReason::kContext), "context");
}

}  // namespace
}  // namespace nibble
