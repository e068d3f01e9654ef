// A model run block by block, each block loaded, run and dropped by itself.
#include "nibble/models/block.h"

#include <numeric>

#include "models/fixtures.h"
#include "models/logits.h"
#include "nibble/models/embedding.h"
#include "nibble/models/rope_frequencies.h"

namespace nibble {
namespace {

constexpr std::int64_t kTokens = 40;

/// Final hidden states, (tokens, hidden), with never more than one block loaded.
std::vector<float> run_block_by_block(const WeightLoader& loader, Compute& compute,
                                      const std::vector<std::int32_t>& ids) {
  const ModelSpec& spec = loader.spec();
  Rope rope;
  if (spec.rope) rope = Rope(rope_frequencies(*spec.rope, spec.head_dim));
  Pass pass(rope);
  std::vector<std::int64_t> positions(kTokens);
  std::iota(positions.begin(), positions.end(), 0);
  std::vector<float> hidden(static_cast<std::size_t>(kTokens * spec.hidden));
  Embedding(loader).run(compute, ids, positions, hidden.data());
  for (std::int64_t layer = 0; layer < spec.n_layers; ++layer) {
    const DecoderBlock block = load_block(loader, layer);
    KvCache cache({1, spec.n_kv_heads, spec.head_dim, kTokens}, KvType::kBF16);
    cache.require(kTokens);
    pass.begin();
    pass.add(cache, kTokens);
    block.run(compute, pass, 0, hidden.data());
    for (const Linear* linear : block.linears()) loader.drop(*linear);
  }
  if (!spec.final_norm.empty()) {
    loader.norm(spec.final_norm, spec.hidden).apply(compute, hidden.data(), kTokens, hidden.data());
  }
  return hidden;
}

class BlockByBlock : public ::testing::TestWithParam<const char*> {};

TEST_P(BlockByBlock, GivesTheDecodersHiddenStates) {
  const Checkpoint checkpoint(kFixtures / GetParam());
  const ModelSpec& spec = checkpoint.spec();
  const std::vector<std::int32_t> ids = test::reference_ids(kTokens, spec.vocab);
  for (const DType dtype : {DType::kBF16, DType::kF32}) {
    ThreadPool pool(2);
    Compute compute(select_kernels(), pool);
    Decoder decoder(checkpoint, compute, dtype);
    KvCache cache({spec.n_layers, spec.n_kv_heads, spec.head_dim, kTokens}, KvType::kBF16);
    std::vector<float> expected(static_cast<std::size_t>(kTokens * spec.hidden));
    decoder.forward(compute, ids, cache, expected.data());

    const WeightLoader loader(checkpoint, compute, dtype);
    EXPECT_EQ(run_block_by_block(loader, compute, ids), expected);
    EXPECT_EQ(run_block_by_block(loader, compute, ids), expected);  // what was dropped is there
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, BlockByBlock,
                         ::testing::Values("untied_gqa", "architecture_opt_post_norm",
                                           "architecture_qwen3_window", "architecture_gemma",
                                           "gguf_mixed_gpt2/model.gguf"),
                         [](const auto& test_case) {
                           std::string name = test_case.param;
                           std::replace_if(
                               name.begin(), name.end(),
                               [](char c) { return c == '/' || c == '.'; }, '_');
                           return name;
                         });

}  // namespace
}  // namespace nibble
