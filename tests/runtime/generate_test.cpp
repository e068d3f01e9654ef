// Generation with the small model in data/.
#include "nibble/runtime/generate.h"

#include <algorithm>

#include "core/error_matchers.h"
#include "paths.h"

namespace nibble {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const std::string kStories = testing::data_file("stories260K");

/// A generation and the pieces that its text came in.
struct Story {
  Generation generation;
  std::vector<std::string> pieces;
  std::vector<std::int32_t> tokens;
  std::int64_t cached;
};

class Generate : public ::testing::Test {
 protected:
  Story tell(const std::vector<std::int32_t>& prompt, const GenerateOptions& options,
             std::int64_t capacity = 0) {
    KvCache cache = model_.make_cache(capacity);
    Sequence sequence(tokenizer_, model_.spec(), prompt, cache.capacity(), options);
    Story story;
    story.generation = generate(model_, cache, sequence,
                                [&](std::string_view piece) { story.pieces.emplace_back(piece); });
    story.tokens.assign(sequence.tokens().begin(), sequence.tokens().end());
    story.cached = cache.length();
    return story;
  }

  ThreadPool pool_{2};
  Model model_{kStories, pool_};
  Tokenizer tokenizer_ = model_.checkpoint().load_tokenizer();
  std::vector<std::int32_t> prompt_ = tokenizer_.encode("Once upon a time");
};

std::string joined(const std::vector<std::string>& pieces) {
  std::string text;
  for (const std::string& piece : pieces) text += piece;
  return text;
}

TEST_F(Generate, StopsAtTheLength) {
  const Story story = tell(prompt_, {.max_tokens = 20});
  EXPECT_EQ(story.generation.reason, StopReason::kLength);
  EXPECT_EQ(story.generation.ids.size(), 20u);
  EXPECT_EQ(story.tokens.size(), prompt_.size() + 20);
  EXPECT_TRUE(std::equal(prompt_.begin(), prompt_.end(), story.tokens.begin()));
  EXPECT_EQ(story.cached, static_cast<std::int64_t>(prompt_.size()) + 19);
  EXPECT_GT(story.generation.prefill_ms, 0);
  EXPECT_DOUBLE_EQ(story.generation.ms_per_token(), story.generation.decode_ms / 19);
}

TEST_F(Generate, TextIsThatOfItsPiecesAndIds) {
  const Story story = tell(prompt_, {.max_tokens = 60});
  EXPECT_EQ(joined(story.pieces), story.generation.text);
  EXPECT_GT(story.pieces.size(), 20u);  // it streams
  for (const std::string& piece : story.pieces) EXPECT_FALSE(piece.empty());
  const std::string whole = tokenizer_.decode(story.tokens, true);
  EXPECT_EQ("Once upon a time" + story.generation.text, whole);
}

TEST_F(Generate, NoTokensButThePrompt) {
  const Story story = tell(prompt_, {.max_tokens = 0});
  EXPECT_EQ(story.generation.reason, StopReason::kLength);
  EXPECT_TRUE(story.generation.ids.empty());
  EXPECT_EQ(story.generation.text, "");
  EXPECT_EQ(story.generation.ms_per_token(), 0);
  EXPECT_EQ(tell(prompt_, {.max_tokens = 1}).generation.ids.size(), 1u);
}

TEST_F(Generate, StopsAtEos) {
  // This model ends its stories with BOS, which its generation_config names beside EOS.
  const Story story = tell(prompt_, {.max_tokens = 500});
  ASSERT_EQ(story.generation.reason, StopReason::kEos);
  const std::vector<std::int32_t>& ids = story.generation.ids;
  EXPECT_LT(ids.size(), 500u);
  EXPECT_TRUE(ids.back() == 1 || ids.back() == 2);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 1) + std::count(ids.begin(), ids.end(), 2), 1);
  EXPECT_EQ(story.generation.text.find("<s>"), std::string::npos);

  const auto more = static_cast<std::int64_t>(ids.size()) + 10;
  const Story longer = tell(prompt_, {.max_tokens = more, .ignore_eos = true});
  EXPECT_EQ(longer.generation.reason, StopReason::kLength);
  EXPECT_EQ(static_cast<std::int64_t>(longer.generation.ids.size()), more);
  EXPECT_TRUE(std::equal(ids.begin(), ids.end(), longer.generation.ids.begin()));
}

TEST_F(Generate, StopsAtAStopText) {
  const std::string all = tell(prompt_, {.max_tokens = 60}).generation.text;
  const std::string stop = all.substr(30, 9);  // begins and ends inside tokens, as a rule
  const Story story = tell(prompt_, {.max_tokens = 60, .stop = {"never said", stop}});
  EXPECT_EQ(story.generation.reason, StopReason::kStop);
  EXPECT_EQ(story.generation.text, all.substr(0, all.find(stop)));
  EXPECT_EQ(joined(story.pieces), story.generation.text);
  EXPECT_LT(story.generation.ids.size(), 60u);
  // One that only began is printed after all.
  const Story begun = tell(prompt_, {.max_tokens = 60, .stop = {all.substr(30) + "!?"}});
  EXPECT_EQ(begun.generation.reason, StopReason::kLength);
  EXPECT_EQ(begun.generation.text, all);
}

TEST_F(Generate, StopsWhereTheContextIsFull) {
  const auto capacity = static_cast<std::int64_t>(prompt_.size()) + 5;
  const Story story = tell(prompt_, {.max_tokens = 60}, capacity);
  EXPECT_EQ(story.generation.reason, StopReason::kContext);
  EXPECT_EQ(story.generation.ids.size(), 6u);  // the last one needs no place
  EXPECT_EQ(story.cached, capacity);
  // A prompt that fills it gives one token.
  const Story full = tell(prompt_, {.max_tokens = 60}, static_cast<std::int64_t>(prompt_.size()));
  EXPECT_EQ(full.generation.reason, StopReason::kContext);
  EXPECT_EQ(full.generation.ids.size(), 1u);
}

TEST_F(Generate, RefusesPromptsThatCannotBe) {
  EXPECT_ERROR(tell({}, {}), HasSubstr("empty"));
  EXPECT_ERROR(tell(prompt_, {}, static_cast<std::int64_t>(prompt_.size()) - 1),
               AllOf(HasSubstr(std::to_string(prompt_.size())), HasSubstr("--context")));
  EXPECT_ERROR(tell({1, 512}, {}), HasSubstr("512"));
  EXPECT_ERROR(tell({1, -1}, {}), HasSubstr("-1"));
  EXPECT_ERROR(tell(prompt_, {.sampler = {.top_p = 2}}), HasSubstr("top-p"));
}

TEST_F(Generate, GoesOnAfterWhatIsInTheCache) {
  const Story whole = tell(prompt_, {.max_tokens = 12});
  KvCache cache = model_.make_cache();
  const auto ignore = [](std::string_view) {};
  Sequence begun(tokenizer_, model_.spec(), prompt_, cache.capacity(), {.max_tokens = 5});
  const Generation first = generate(model_, cache, begun, ignore);
  const std::vector<std::int32_t> tokens(begun.tokens().begin(), begun.tokens().end());
  Sequence gone_on(tokenizer_, model_.spec(), tokens, cache.capacity(), {.max_tokens = 7});
  const Generation second = generate(model_, cache, gone_on, ignore);
  std::vector<std::int32_t> ids = first.ids;
  ids.insert(ids.end(), second.ids.begin(), second.ids.end());
  EXPECT_EQ(ids, whole.generation.ids);
}

TEST_F(Generate, ASeedDeterminesTheStory) {
  const auto ids = [&](std::uint64_t seed) {
    return tell(prompt_, {.max_tokens = 30, .sampler = {.temperature = 1.0, .seed = seed}})
        .generation.ids;
  };
  EXPECT_EQ(ids(1), ids(1));
  EXPECT_NE(ids(1), ids(2));
}

TEST_F(Generate, ThreadsDoNotChangeTheIds) {
  const std::vector<std::int32_t> expected = tell(prompt_, {.max_tokens = 300}).generation.ids;
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    Model model(kStories, pool);
    KvCache cache = model.make_cache();
    Sequence sequence(tokenizer_, model.spec(), prompt_, cache.capacity(), {.max_tokens = 300});
    EXPECT_EQ(generate(model, cache, sequence, [](std::string_view) {}).ids, expected);
  }
}

// Runs longer than a batch of 512 tokens give the logits of one token at a time.
TEST(ModelForward, CutsLongRuns) {
  ThreadPool pool;
  Model model(kStories, pool, {.activations = ActivationType::kF32, .kv = KvType::kF32});
  std::vector<std::int32_t> ids;
  for (std::int32_t i = 0; i < 530; ++i) ids.push_back(3 + i % 500);
  KvCache cache = model.make_cache(540);
  std::vector<float> together(512);
  model.forward_last(ids, cache, together.data());
  EXPECT_EQ(cache.length(), 530);
  KvCache second = model.make_cache(540);
  std::vector<float> hidden(530 * 64);
  model.forward(std::span(ids).first(300), second, hidden.data());
  model.forward(std::span(ids).subspan(300), second, hidden.data());
  std::vector<float> apart(512);
  model.logits(hidden.data() + 229 * 64, 1, apart.data());
  for (std::size_t i = 0; i < 512; ++i) EXPECT_NEAR(apart[i], together[i], 1e-4);
  EXPECT_ERROR(model.forward(std::span(ids).first(11), cache, hidden.data()),
               AllOf(HasSubstr("11 tokens"), HasSubstr("10 of its 540")));
}

}  // namespace
}  // namespace nibble
