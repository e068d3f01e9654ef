// Logits behind a prefix that several sequences share are those of each sequence alone, but for the
// order of sums: other numbers of rows go through other kernels.
#include "nibble/eval/shared_prefix.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "nibble/core/mapped_file.h"
#include "paths.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<std::int32_t>;

Ids part(const Ids& ids, std::size_t from, std::size_t count) {
  const auto first = ids.begin() + static_cast<std::ptrdiff_t>(from);
  return {first, first + static_cast<std::ptrdiff_t>(count)};
}

/// The largest difference between the logits of both ways, in their standard deviations.
double largest_difference(const fs::path& path, const ComputeOptions& options) {
  ThreadPool pool;
  Model model(path, pool, options);
  const Tokenizer tokenizer = model.checkpoint().load_tokenizer();
  const Ids ids = tokenizer.encode(read_text_file(testing::data_file("stories.txt")));
  std::vector<Ids> sequences;
  for (std::size_t i = 0; i < 5; ++i) {
    Ids sequence = part(ids, 0, 300 - 20 * i);  // as far as it is the prefix's
    const Ids rest = part(ids, 1000 + 100 * i, 10 + 13 * i);
    sequence.insert(sequence.end(), rest.begin(), rest.end());
    sequences.push_back(sequence);
  }
  const auto vocab = static_cast<std::size_t>(model.spec().vocab);
  SharedPrefix shared(model, 512, 5);
  shared.set(part(ids, 0, 290));
  std::vector<KvCache> caches;
  for (const Ids& sequence : sequences) caches.push_back(shared.branch(sequence));
  EXPECT_EQ(caches[0].length(), 290);
  EXPECT_EQ(caches[4].length(), 220);
  std::vector<SequenceTokens> tokens;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    tokens.push_back({std::span<const std::int32_t>(sequences[i])
                          .subspan(static_cast<std::size_t>(caches[i].length())),
                      &caches[i]});
  }
  std::vector<float> together(sequences.size() * vocab);
  model.forward_last(tokens, together.data());

  double largest = 0;
  double sum = 0;
  double squares = 0;
  std::vector<float> alone(vocab);
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    KvCache cache = model.make_cache(512);
    model.forward_last(sequences[i], cache, alone.data());
    for (std::size_t j = 0; j < vocab; ++j) {
      largest = std::max(largest, std::abs(double{together[i * vocab + j]} - alone[j]));
      sum += alone[j];
      squares += double{alone[j]} * alone[j];
    }
  }
  const auto count = static_cast<double>(sequences.size() * vocab);
  return largest / std::sqrt(squares / count - sum / count * (sum / count));
}

TEST(SharedPrefixes, ChangeLogitsByRoundingOnly) {
  const fs::path stories = testing::data_file("stories260K");
  const double f32 =
      largest_difference(stories, {.activations = ActivationType::kF32, .kv = KvType::kF32});
  const double bf16 = largest_difference(stories, {});
  RecordProperty("f32", std::to_string(f32));
  RecordProperty("bf16", std::to_string(bf16));
  EXPECT_LT(f32, 1e-4);
  EXPECT_LT(bf16, 0.04);  // a bfloat16 that rounds the other way here and there
}

TEST(SharedPrefixesSlow, ChangeARealModelsLogitsByRoundingOnly) {
  const char* folder = std::getenv("NIBBLE_SHARED");
  if (folder == nullptr) GTEST_SKIP() << "NIBBLE_SHARED names no folder of larger test files";
  const double bf16 =
      largest_difference(fs::path(folder) / "models/SmolLM2-135M-Instruct.Q4_1.gguf", {});
  RecordProperty("bf16", std::to_string(bf16));
  EXPECT_LT(bf16, 0.04);
}

TEST(SharedPrefixes, KeepATokenToCompute) {
  const Ids prefix = {1, 2, 3};
  EXPECT_EQ(SharedPrefix::common(prefix, Ids{1, 2, 3}), 2);
  EXPECT_EQ(SharedPrefix::common(prefix, Ids{1, 2, 3, 4}), 3);
  EXPECT_EQ(SharedPrefix::common(prefix, Ids{1, 5, 3}), 1);
  EXPECT_EQ(SharedPrefix::common(prefix, Ids{}), 0);
  EXPECT_EQ(SharedPrefix::common(Ids{}, prefix), 0);
}

TEST(SharedPrefixes, CachesAreBoundedByMemory) {
  ThreadPool pool(1);
  Model model(testing::data_file("stories260K"), pool);
  EXPECT_EQ(caches_in_memory(model, 512, 16), 16);
  // 5 layers, 4 heads of 8, keys and values in bfloat16: 640 bytes a position.
  EXPECT_EQ(caches_in_memory(model, std::int64_t{1} << 20, 16), 1);
  EXPECT_EQ(caches_in_memory(model, std::int64_t{1} << 40, 16), 1);
}

}  // namespace
}  // namespace nibble
