// What the quality report says of a quantized model.
#include "nibble/quant/quality.h"

#include <gtest/gtest.h>

#include "core/temporary_folder.h"
#include "nibble/kernels/select.h"
#include "nibble/quant/pipeline.h"
#include "quant/stories.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;

class QualityTest : public ::testing::Test {
 protected:
  void quantize(int bits) {
    quantize_model(original_, plan_quantization(original_.spec(), {.bits = bits, .group_size = 32}),
                   compute_, {.path = folder_ / "out", .replace = true});
  }
  Quality measure(const fs::path& model, const QualityTexts& texts) {
    return measure_quality(original_, Checkpoint(model), compute_, DType::kBF16, texts);
  }

  const testing::TemporaryFolder folder_;
  const Checkpoint original_{kStories};
  ThreadPool pool_{2};
  Compute compute_{select_kernels(), pool_};
  // The blocks that testing::divergence() goes by are the held-out ones.
  const QualityTexts texts_ = {.trained = testing::story_blocks(0, 2, 128),
                               .held_out = testing::story_blocks(30, 8, 128)};
};

TEST_F(QualityTest, OfAModelAndItselfIsPerfect) {
  const Quality quality = measure(kStories, texts_);
  EXPECT_EQ(quality.block_errors, std::vector<double>(5, 0.0));
  EXPECT_EQ(quality.held_out.tokens, 8 * 128);
  EXPECT_EQ(quality.trained.tokens, 2 * 128);
  EXPECT_NEAR(quality.held_out.kl_divergence, 0, 1e-6);
  EXPECT_EQ(quality.held_out.top1_agreement, 1);
}

// testing::divergence() runs models as a whole, in float32.
TEST_F(QualityTest, FindsTheDivergenceOfWholeModels) {
  quantize(4);
  const Quality w4 = measure(folder_ / "out", texts_);
  EXPECT_NEAR(w4.held_out.kl_divergence, testing::divergence(folder_ / "out"), 0.003);
  quantize(3);
  const Quality w3 = measure(folder_ / "out", texts_);
  EXPECT_GT(w3.held_out.kl_divergence, w4.held_out.kl_divergence);
  EXPECT_LT(w3.held_out.top1_agreement, w4.held_out.top1_agreement);
  for (std::size_t i = 0; i < 5; ++i) EXPECT_GT(w3.block_errors[i], w4.block_errors[i]);
}

TEST_F(QualityTest, MayHaveNoTextOfEitherKind) {
  quantize(4);
  const Quality trained = measure(folder_ / "out", {.trained = texts_.trained, .held_out = {}});
  EXPECT_EQ(trained.held_out.tokens, 0);
  EXPECT_GT(trained.trained.kl_divergence, 0);
  EXPECT_GT(trained.block_errors[0], 0);
  EXPECT_TRUE(measure(folder_ / "out", {}).block_errors.empty());
}

}  // namespace
}  // namespace nibble
