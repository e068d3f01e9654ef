// Models whose operators do not run as one, against the same with those that do.
#include "nibble/ops/fusion.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "models/logits.h"
#include "nibble/runtime/model.h"
#include "paths.h"

namespace nibble {
namespace {

/// Logits of a prompt and of a step after it.
std::vector<float> logits_of(const std::string& name, const FusionSet& fusion,
                             std::optional<ActivationType> activations = {}) {
  ThreadPool pool(2);
  Model model(testing::test_file("models/fixtures/" + name), pool,
              {.activations = activations, .fusion = fusion});
  KvCache cache = model.make_cache(32);
  const auto vocab = static_cast<std::size_t>(model.spec().vocab);
  const std::vector<std::int32_t> ids = test::reference_ids(21, model.spec().vocab);
  std::vector<float> logits(2 * vocab);
  model.forward_last(std::span(ids).first(20), cache, logits.data());
  model.forward_last(std::span(ids).last(1), cache, logits.data() + vocab);
  return logits;
}

FusionSet all_but(Fusion left_out) {
  FusionSet set;
  for (const Fusion fusion : {Fusion::kProjections, Fusion::kAttention, Fusion::kRope,
                              Fusion::kNorm, Fusion::kActivation, Fusion::kResidual}) {
    if (fusion != left_out) set |= {fusion};
  }
  return set;
}

class Apart : public ::testing::TestWithParam<const char*> {
 protected:
  static std::vector<ActivationType> activations() {
    const bool has_integers = std::string(GetParam()).starts_with("quantized/");
    if (!has_integers) return {ActivationType::kBF16, ActivationType::kF32};
    return {ActivationType::kBF16, ActivationType::kInt8};
  }
};

TEST_P(Apart, LinearLayersGiveTheSameBits) {
  for (const ActivationType activations : activations()) {
    const std::vector<float> fused = logits_of(GetParam(), FusionSet::all(), activations);
    for (const Fusion fusion : {Fusion::kProjections, Fusion::kRope, Fusion::kNorm,
                                Fusion::kActivation, Fusion::kResidual}) {
      SCOPED_TRACE(static_cast<int>(fusion));
      EXPECT_EQ(logits_of(GetParam(), all_but(fusion), activations), fused);
    }
    EXPECT_EQ(logits_of(GetParam(), {Fusion::kAttention}, activations), fused);
  }
}

TEST_P(Apart, AttentionGivesTheSameButForItsRounding) {
  const std::vector<float> fused = logits_of(GetParam(), FusionSet::all());
  const std::vector<float> plain = logits_of(GetParam(), {});
  EXPECT_EQ(plain, logits_of(GetParam(), all_but(Fusion::kAttention)));
  double squares = 0;
  for (std::size_t i = 0; i < fused.size(); ++i) {
    squares += (plain[i] - fused[i]) * (plain[i] - fused[i]);
  }
  // Queries and weights in bfloat16 move an attention's output by some 2^-9.
  EXPECT_LT(std::sqrt(squares / static_cast<double>(fused.size())),
            0x1p-7 * test::standard_deviation(fused));
}

INSTANTIATE_TEST_SUITE_P(Fixtures, Apart,
                         ::testing::Values("untied_gqa", "biases_f16", "architecture_opt",
                                           "architecture_opt_post_norm",
                                           "architecture_qwen2_window", "architecture_qwen3",
                                           "architecture_gemma", "quantized/awq_g32",
                                           "quantized/gptq4_g32_act", "quantized/ct_w8a8"),
                         [](const auto& test_case) {
                           const std::string name = test_case.param;
                           return name.substr(name.find('/') + 1);
                         });

}  // namespace
}  // namespace nibble
