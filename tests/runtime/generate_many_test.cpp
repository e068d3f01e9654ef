// Completions of several prompts at a time are those of each alone.
#include "nibble/runtime/generate_many.h"

#include <algorithm>

#include "core/error_matchers.h"
#include "nibble/core/interrupt.h"
#include "paths.h"

namespace nibble {
namespace {

class GenerateMany : public ::testing::Test {
 protected:
  SequenceRun start(std::int64_t number, const GenerateOptions& options) {
    const auto at = static_cast<std::size_t>(number);
    return {Sequence(tokenizer_, model_.spec(), tokenizer_.encode(prompts_[at]), 256, options),
            model_.make_cache(pool_, 256)};
  }
  /// With `at_once` at a time; also in which order they ended.
  std::vector<Generation> all(std::int64_t at_once, std::vector<std::int64_t>* order = nullptr) {
    std::vector<Generation> done(prompts_.size());
    generate_many(
        model_, std::ssize(prompts_), at_once,
        [&](std::int64_t i) { return start(i, options_[static_cast<std::size_t>(i)]); },
        [&](std::int64_t i, const Generation& generation) {
          done[static_cast<std::size_t>(i)] = generation;
          if (order != nullptr) order->push_back(i);
        });
    return done;
  }

  ThreadPool threads_;
  Model model_{testing::data_file("stories260K"),
               threads_,
               {.activations = ActivationType::kF32, .kv = KvType::kF32}};
  Tokenizer tokenizer_ = model_.checkpoint().load_tokenizer();
  std::shared_ptr<KvPool> pool_ = model_.make_pool(256 * 5);
  std::vector<std::string> prompts_ = {"Once upon a time", "The dog", "Lily and Tom went",
                                       "One day", "The sun was"};
  std::vector<GenerateOptions> options_ = {{.max_tokens = 12},
                                           {.max_tokens = 3},
                                           {.max_tokens = 20, .stop = {"."}},
                                           {.max_tokens = 0},
                                           {.max_tokens = 7}};
};

TEST_F(GenerateMany, EachIsWhatItIsAlone) {
  std::vector<Generation> alone;
  for (std::size_t i = 0; i < prompts_.size(); ++i) {
    SequenceRun run = start(static_cast<std::int64_t>(i), options_[i]);
    if (run.sequence.finished()) {
      alone.push_back({});
      continue;
    }
    alone.push_back(generate(model_, run.cache, run.sequence, [](std::string_view) {}));
  }
  for (const std::int64_t at_once : {1, 2, 3, 5, 9}) {
    const std::vector<Generation> found = all(at_once);
    for (std::size_t i = 0; i < alone.size(); ++i) {
      EXPECT_EQ(found[i].ids, alone[i].ids) << at_once << " " << i;
      EXPECT_EQ(found[i].text, alone[i].text) << at_once << " " << i;
      EXPECT_EQ(found[i].reason, alone[i].reason) << at_once << " " << i;
    }
  }
}

TEST_F(GenerateMany, WhoIsDoneMakesRoom) {
  std::vector<std::int64_t> order;
  all(1, &order);
  EXPECT_EQ(order, (std::vector<std::int64_t>{0, 1, 2, 3, 4}));
  order.clear();
  all(2, &order);
  EXPECT_EQ(order.front(), 1);  // the shorter of the first two
  EXPECT_EQ(order.size(), 5u);
  EXPECT_EQ(pool_->pages().free_pages(), pool_->pages().pages());
}

TEST_F(GenerateMany, ErrorsOfAPromptAndInterruptsComeThrough) {
  options_[2].sampler.temperature = -1;
  EXPECT_ERROR(all(2), ::testing::HasSubstr("temperature"));
  options_[2].sampler.temperature = 0;
  request_interrupt();
  EXPECT_THROW(all(2), Interrupted);
  clear_interrupt();
  EXPECT_EQ(pool_->pages().free_pages(), pool_->pages().pages());
}

TEST_F(GenerateMany, OfNothingIsNothing) {
  prompts_.clear();
  EXPECT_TRUE(all(4).empty());
}

}  // namespace
}  // namespace nibble
