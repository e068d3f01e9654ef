#include "nibble/runtime/model.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <memory>
#include <thread>
#include <vector>

#include "bench/tiny_model.h"
#include "core/error_matchers.h"
#include "models/architecture_configs.h"
#include "paths.h"

namespace nibble {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(Model, LearnedPositionsEndTheContext) {
  const testing::TemporaryFolder folder;
  ThreadPool pool(1);
  Model model(testing::make_tiny_model(folder, {.bits = 16}, testing::opt_config()), pool);
  EXPECT_ERROR(model.make_cache(65), AllOf(HasSubstr("65"), HasSubstr("64")));
  KvCache cache = model.make_cache();
  EXPECT_EQ(cache.capacity(), 64);
  std::vector<float> hidden(64 * 64);
  model.forward(std::vector<std::int32_t>(64, 3), cache,
                hidden.data());  // the last row of the table
  EXPECT_ERROR(model.forward(std::vector<std::int32_t>{3}, cache, hidden.data()),
               AllOf(HasSubstr("do not fit in the context"), HasSubstr("64")));
}

std::vector<std::int32_t> some_ids(std::size_t count, std::int32_t first) {
  std::vector<std::int32_t> ids(count);
  for (std::size_t i = 0; i < count; ++i) ids[i] = first + static_cast<std::int32_t>(i * 7 % 400);
  return ids;
}

/// What the last token of each run of ids gives, each in a pass and a cache of its own.
std::vector<float> logits_alone(Model& model, const std::vector<std::vector<std::int32_t>>& runs) {
  const auto vocab = static_cast<std::size_t>(model.spec().vocab);
  std::vector<float> all(runs.size() * vocab);
  for (std::size_t i = 0; i < runs.size(); ++i) {
    KvCache cache = model.make_cache();
    model.forward_last(runs[i], cache, all.data() + i * vocab);
  }
  return all;
}

// With sums in float32 and nothing rounded, what differs is the order of sums: of at most 172
// terms, in 36 products one after the other, 172 * 36 * 2^-24 of logits that are below 20 or so.
constexpr float kOrderOfSums = 20 * 172 * 36 * 0x1p-24f;

// Together more than two passes of 512 rows: a sequence begins in one and ends in the next, and
// another ends with the last row of a pass.
TEST(ModelSequences, AreCutIntoPasses) {
  ThreadPool workers(2);
  Model model(testing::data_file("stories260K"), workers,
              {.activations = ActivationType::kF32, .kv = KvType::kF32});
  const std::vector<std::vector<std::int32_t>> runs = {
      some_ids(200, 3), some_ids(1, 9), some_ids(500, 5), some_ids(323, 20), some_ids(30, 7)};
  const std::vector<float> expected = logits_alone(model, runs);
  const std::shared_ptr<KvPool> pool = model.make_pool(10 * 256);
  std::vector<KvCache> caches;
  for (std::size_t i = 0; i < runs.size(); ++i) caches.push_back(model.make_cache(pool));
  std::vector<SequenceTokens> sequences;
  for (std::size_t i = 0; i < runs.size(); ++i) sequences.push_back({runs[i], &caches[i]});

  std::vector<float> found(expected.size());
  model.forward_last(sequences, found.data());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    ASSERT_NEAR(found[i], expected[i], kOrderOfSums) << i;
  }
  std::size_t rows = 0;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    EXPECT_EQ(caches[i].length(), std::ssize(runs[i]));
    rows += runs[i].size();
    caches[i].truncate(0);
  }
  std::vector<float> hidden(rows * 64);
  model.forward(sequences, hidden.data());
  std::size_t end = 0;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    end += runs[i].size();
    model.logits(hidden.data() + (end - 1) * 64, 1, found.data());
    for (std::size_t j = 0; j < 512; ++j) {
      ASSERT_NEAR(found[j], expected[i * 512 + j], kOrderOfSums) << i << " " << j;
    }
  }
}

TEST(ModelSequences, AFullPoolIsAnErrorBeforeAnythingIsComputed) {
  ThreadPool workers(1);
  Model model(testing::data_file("stories260K"), workers);
  const std::shared_ptr<KvPool> pool = model.make_pool(2 * 256);
  KvCache first = model.make_cache(pool);
  KvCache second = model.make_cache(pool);
  std::vector<float> logits(2 * 512);
  model.forward_last(some_ids(256, 3), first, logits.data());
  const std::vector<std::int32_t> one = {5};
  const std::vector<std::int32_t> many = some_ids(256, 3);
  EXPECT_ERROR(model.forward_last(std::vector<SequenceTokens>{{many, &second}, {one, &first}},
                                  logits.data()),
               AllOf(HasSubstr("KV cache is full"), HasSubstr("512 positions")));
  EXPECT_EQ(first.length(), 256);
  EXPECT_EQ(second.length(), 0);
  second.truncate(0);  // whoever is sent back gives up its pages
  model.forward_last(one, first, logits.data());
  EXPECT_EQ(first.length(), 257);
}

// Callers on several threads get what they get one by one.
TEST(ModelSequences, ThreadsMayCallAtOnce) {
  ThreadPool workers(2);
  Model model(testing::data_file("stories260K"), workers);
  const std::vector<std::vector<std::int32_t>> runs = {some_ids(20, 3), some_ids(500, 9),
                                                       some_ids(1, 5), some_ids(300, 20)};
  const std::vector<float> expected = logits_alone(model, runs);
  const std::shared_ptr<KvPool> pool = model.make_pool(10 * 256);
  std::vector<std::vector<float>> found(runs.size(), std::vector<float>(512));
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 5; ++round) {
        KvCache cache = model.make_cache(pool);
        model.forward_last(runs[i], cache, found[i].data());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const auto begin = expected.begin() + static_cast<std::ptrdiff_t>(i * 512);
    EXPECT_TRUE(std::equal(begin, begin + 512, found[i].begin())) << i;
  }
}

}  // namespace
}  // namespace nibble
