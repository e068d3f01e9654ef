// What is learned from end to end: it brings the model nearer, and nothing but scales and norms
// changes.
#include <gtest/gtest.h>

#include "core/temporary_folder.h"
#include "nibble/kernels/select.h"
#include "nibble/quant/pipeline.h"
#include "quant/stories.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using testing::divergence;
using testing::read_file;

class Learning : public ::testing::Test {
 protected:
  void quantize(const fs::path& out, bool learns, const QuantizeOptions& options, int threads = 2) {
    const Checkpoint checkpoint(kStories);
    ThreadPool pool(threads);
    Compute compute(select_kernels(), pool);
    QuantizeMethod method{.algorithm = "best", .blocks = {.rounder = make_per_group_rounder()}};
    if (learns) method.distillation = DistillationOptions{.rate = 0.01F};
    quantize_model({.checkpoint = checkpoint,
                    .plan = plan_quantization(checkpoint.spec(), options),
                    .method = method,
                    .calibration = testing::story_blocks(0, 16, 96),
                    .to = {.path = out}},
                   compute);
  }

  static bool is_scale_or_norm(const std::string& name) {
    return name.ends_with(".weight_scale") || name.find("norm") != std::string::npos;
  }

  testing::TemporaryFolder folder_;
};

TEST_F(Learning, BringsTheModelNearerByScalesAndNormsAlone) {
  const QuantizeOptions options{.bits = 3, .group_size = 32};
  quantize(folder_ / "rounded", false, options);
  quantize(folder_ / "learned", true, options);
  EXPECT_LT(divergence(folder_ / "learned"), 0.8 * divergence(folder_ / "rounded"));
  const Checkpoint rounded(folder_ / "rounded");
  const Checkpoint learned(folder_ / "learned");
  int changed = 0;
  for (const std::string& name : rounded.tensors().names()) {
    const auto bytes = [&](const Checkpoint& of) {
      const TensorView view = of.tensors().find(name)->view;
      return std::string(reinterpret_cast<const char*>(view.data), view.bytes);
    };
    if (bytes(rounded) == bytes(learned)) continue;
    EXPECT_TRUE(is_scale_or_norm(name)) << name;
    ++changed;
  }
  EXPECT_GT(changed, 30);
  EXPECT_FALSE(fs::exists(folder_ / "learned" / "rounded"));
}

TEST_F(Learning, BytesDoNotDependOnThreads) {
  for (const int threads : {1, 2, 3}) {
    const fs::path out = folder_ / std::to_string(threads);
    quantize(out, true, {.group_size = 32}, threads);
    EXPECT_TRUE(read_file(out / "model.safetensors") ==
                read_file(folder_ / "1" / "model.safetensors"));
  }
}

// The head's scales are the embedding's rows' too, which are not looked at in learning.
TEST_F(Learning, LeavesAHeadThatIsTheEmbeddingAsItIs) {
  const QuantizeOptions options{.bits = 3, .group_size = 32, .embedding = EmbeddingStorage::kHead};
  quantize(folder_ / "rounded", false, options);
  quantize(folder_ / "learned", true, options);
  EXPECT_LT(divergence(folder_ / "learned"), 0.9 * divergence(folder_ / "rounded"));
}

}  // namespace
}  // namespace nibble
