// A model on a machine with several memory nodes, made up by NIBBLE_FAKE_NODES.
#include <gtest/gtest.h>

#include <cstdlib>

#include "bench/tiny_model.h"
#include "nibble/runtime/model.h"

namespace nibble {
namespace {

/// Logits after a prompt, then of each of some steps of decode.
std::vector<float> logits_of(const std::filesystem::path& path, int threads) {
  ThreadPool pool(threads);
  Model model(path, pool);
  KvCache cache = model.make_cache();
  const auto vocab = static_cast<std::size_t>(model.spec().vocab);
  std::vector<float> all;
  std::vector<std::int32_t> tokens;
  for (std::int32_t i = 0; i < 20; ++i) tokens.push_back(i * 7 % 200);
  for (int step = 0; step < 5; ++step) {
    all.resize(all.size() + vocab);
    model.forward_last(tokens, cache, all.data() + all.size() - vocab);
    tokens = {step * 31};
  }
  return all;
}

/// The model at `path` gives the same logits on two nodes as on one, with any number of threads.
void expect_same_on_two_nodes(const std::filesystem::path& path) {
  for (const int threads : {1, 2, 5}) {
    const std::vector<float> one = logits_of(path, threads);
    ::setenv("NIBBLE_FAKE_NODES", "2", 1);
    const std::vector<float> two = logits_of(path, threads);
    ::unsetenv("NIBBLE_FAKE_NODES");
    EXPECT_EQ(one, two) << threads << " threads";
  }
}

TEST(FakeNodes, ChangeNoBitOfAModel) {
  for (const int bits : {16, 8, 4, 3}) {
    SCOPED_TRACE(bits);
    const testing::TemporaryFolder folder;
    expect_same_on_two_nodes(testing::make_tiny_model(folder, {.bits = bits, .group_size = 32}));
  }
}

// A head of 4 MiB gets huge pages on one node; on two, whose shares are small, it does not.
TEST(FakeNodes, ChangeNoBitOfAModelWithALargeHead) {
  nlohmann::json config = testing::tiny_config();
  config["vocab_size"] = 65'539;
  for (const int bits : {16, 8}) {
    SCOPED_TRACE(bits);
    const testing::TemporaryFolder folder;
    expect_same_on_two_nodes(testing::make_tiny_model(folder, {.bits = bits}, config));
  }
}

}  // namespace
}  // namespace nibble
